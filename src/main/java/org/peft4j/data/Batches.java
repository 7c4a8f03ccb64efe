package org.peft4j.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.peft4j.random.SplitMix64;

/**
 * Which examples form a batch. The order of an epoch depends on (seed, epoch) and the number of examples alone: the
 * indexes 0, 1, 2, … are shuffled by Fisher and Yates from the back, driven by SplitMix64 whose seed is the mixed
 * {@code seed + 1} combined with the epoch. The last batch may be smaller. Accumulation of gradients knows batches, not
 * the other way round.
 */
public final class Batches {
    private Batches() {}

    /** The batches of an epoch (from 0) in shuffled order. */
    public static List<int[]> shuffled(int examples, int batchSize, long seed, int epoch) {
        return split(shuffledOrder(examples, seed, epoch), batchSize);
    }

    /**
     * The same with as many examples as have at most so many tokens together; a longer one is a batch by itself.
     *
     * @param tokens how many each example has
     */
    public static List<int[]> shuffled(int[] tokens, int batchTokens, long seed, int epoch) {
        return filled(shuffledOrder(tokens.length, seed, epoch), tokens, batchTokens);
    }

    private static int[] shuffledOrder(int examples, long seed, int epoch) {
        int[] order = fileOrder(examples);
        SplitMix64 random = new SplitMix64(SplitMix64.mix(seed + 1) ^ epoch);
        for (int i = examples - 1; i > 0; i--) {
            int j = (int) random.below(i + 1L);
            int other = order[j];
            order[j] = order[i];
            order[i] = other;
        }
        return order;
    }

    /** The batches in the order of the file. */
    public static List<int[]> inOrder(int examples, int batchSize) {
        return split(fileOrder(examples), batchSize);
    }

    /** The same with as many examples as have at most so many tokens together; a longer one is a batch by itself. */
    public static List<int[]> inOrder(int[] tokens, int batchTokens) {
        return filled(fileOrder(tokens.length), tokens, batchTokens);
    }

    private static List<int[]> filled(int[] order, int[] tokens, int batchTokens) {
        if (batchTokens < 1) {
            throw new IllegalArgumentException("batchTokens must be at least 1, got " + batchTokens);
        }
        List<int[]> batches = new ArrayList<>();
        int from = 0;
        long sum = 0;
        for (int i = 0; i < order.length; i++) {
            if (i > from && sum + tokens[order[i]] > batchTokens) {
                batches.add(Arrays.copyOfRange(order, from, i));
                from = i;
                sum = 0;
            }
            sum += tokens[order[i]];
        }
        if (from < order.length) {
            batches.add(Arrays.copyOfRange(order, from, order.length));
        }
        return batches;
    }

    private static int[] fileOrder(int examples) {
        int[] order = new int[examples];
        Arrays.setAll(order, i -> i);
        return order;
    }

    private static List<int[]> split(int[] order, int batchSize) {
        if (batchSize < 1) {
            throw new IllegalArgumentException("batchSize must be at least 1, got " + batchSize);
        }
        List<int[]> batches = new ArrayList<>();
        for (int from = 0; from < order.length; from += batchSize) {
            batches.add(Arrays.copyOfRange(order, from, Math.min(order.length, from + batchSize)));
        }
        return batches;
    }
}
