package org.peft4j.train;

import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.Batches;
import org.peft4j.task.Dataset;
import org.peft4j.task.Example;

/**
 * Which rows form the batches of each epoch of a run: so many rows each, or as many as have so many tokens. The steps of a run
 * follow from the batches of each of its epochs, which differ where tokens are counted and rows are shuffled.
 *
 * <p>Where a row's loss sees the other rows of its batch, a row that would be alone in the last one is left out of the epoch: its
 * loss were 0 whatever the model does.
 */
public final class EpochBatches {
    private final TrainingConfig training;
    private final int @Nullable [] numbers; // of the rows; null: all
    private final int[] tokens;
    private final boolean alone;

    /** @param alone whether a row can be learned from alone */
    EpochBatches(TrainingConfig training, Dataset<?> rows, boolean alone) {
        this(training, rows, null, alone);
    }

    /**
     * @param numbers of the rows that form batches; null: all
     * @param alone whether a row can be learned from alone
     */
    EpochBatches(TrainingConfig training, Dataset<?> rows, int @Nullable [] numbers, boolean alone) {
        this.training = training;
        this.numbers = numbers;
        int[] all = rows.examples().stream().mapToInt(Example::tokens).toArray();
        this.tokens = numbers == null
                ? all
                : IntStream.of(numbers).map(number -> all[number]).toArray();
        this.alone = alone;
    }

    /** The batches of an epoch (from 0), shuffled if the run wants it. */
    public List<int[]> of(int epoch) {
        return numbered(learned(all(epoch)));
    }

    private List<int[]> all(int epoch) {
        if (!training.shuffle()) {
            return allInOrder();
        }
        return training.batchTokens() > 0
                ? Batches.shuffled(tokens, training.batchTokens(), training.seed(), epoch)
                : Batches.shuffled(tokens.length, training.batchSize(), training.seed(), epoch);
    }

    /** The batches in the order of the rows. */
    public List<int[]> inOrder() {
        return numbered(learned(allInOrder()));
    }

    private List<int[]> numbered(List<int[]> batches) {
        return numbers == null
                ? batches
                : batches.stream()
                        .map(batch ->
                                IntStream.of(batch).map(row -> numbers[row]).toArray())
                        .toList();
    }

    /** The most tokens that a batch of any epoch can have. */
    long mostTokens() {
        if (training.batchTokens() > 0) {
            return Math.max(training.batchTokens(), longest());
        }
        return IntStream.of(tokens)
                .boxed()
                .sorted(Comparator.reverseOrder())
                .limit(training.batchSize())
                .mapToLong(Integer::longValue)
                .sum();
    }

    /** Tokens of the longest row. */
    long longest() {
        return IntStream.of(tokens).max().orElse(0);
    }

    private List<int[]> allInOrder() {
        return training.batchTokens() > 0
                ? Batches.inOrder(tokens, training.batchTokens())
                : Batches.inOrder(tokens.length, training.batchSize());
    }

    private List<int[]> learned(List<int[]> batches) {
        return leavesOneOut(batches) ? batches.subList(0, batches.size() - 1) : batches;
    }

    private boolean leavesOneOut(List<int[]> batches) {
        return !alone && !batches.isEmpty() && batches.get(batches.size() - 1).length == 1;
    }

    /** Optimiser steps of the whole run. */
    public long totalSteps() {
        if (training.batchTokens() > 0) {
            return training.totalSteps(epoch -> of(epoch).size());
        }
        long batches = inOrder().size(); // the same in each epoch
        return training.totalSteps(epoch -> batches);
    }

    /** What a user should know of it. */
    Optional<String> note() {
        if (training.batchTokens() == 0) {
            return leavesOneOut(allInOrder())
                    ? Optional.of("1 of " + tokens.length + " rows is left out of each epoch: training.batch_size "
                            + training.batchSize()
                            + " would leave it alone in the last batch, and its loss needs other rows")
                    : Optional.empty();
        }
        return !alone && IntStream.range(0, training.epochs()).anyMatch(epoch -> leavesOneOut(all(epoch)))
                ? Optional.of("a row that training.batch_tokens " + training.batchTokens()
                        + " would leave alone in the last batch of an epoch is left out of that one: its loss needs"
                        + " other rows")
                : Optional.empty();
    }
}
