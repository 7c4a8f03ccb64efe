package org.peft4j.generate;

import java.util.Arrays;

/**
 * Tokens, the likeliest first; of equal ones that with the smaller number. The whole order is never made: the first k cost one
 * pass over the vocabulary, and who wants as many as it takes gets them one by one from a heap.
 */
final class Ranking {
    private final LongHeap left; // keys, the smallest is the likeliest token's

    private Ranking(LongHeap left) {
        this.left = left;
    }

    /** All of them, one after the other. */
    static Ranking of(float[] logits) {
        long[] keys = new long[logits.length];
        for (int token = 0; token < keys.length; token++) {
            keys[token] = key(logits[token], token);
        }
        return new Ranking(new LongHeap(keys));
    }

    int next() {
        return (int) left.removeSmallest();
    }

    /** The k likeliest in order, and those behind that are as likely as the last of them. */
    static int[] first(float[] logits, int k) {
        long[] keys = new long[k];
        for (int token = 0; token < k; token++) {
            keys[token] = ~key(logits[token], token);
        }
        LongHeap kept = new LongHeap(keys); // the smallest is the least likely one
        float least = logits[(int) ~kept.smallest()];
        for (int token = k; token < logits.length; token++) {
            if (logits[token] > least) {
                kept.replaceSmallest(~key(logits[token], token));
                least = logits[(int) ~kept.smallest()];
            }
        }
        return atLeast(logits, least);
    }

    private static int[] atLeast(float[] logits, float least) {
        long[] keys = new long[16];
        int n = 0;
        for (int token = 0; token < logits.length; token++) {
            if (logits[token] >= least) {
                if (n == keys.length) {
                    keys = Arrays.copyOf(keys, 2 * n);
                }
                keys[n++] = key(logits[token], token);
            }
        }
        Arrays.sort(keys, 0, n);
        int[] tokens = new int[n];
        for (int i = 0; i < n; i++) {
            tokens[i] = (int) keys[i];
        }
        return tokens;
    }

    private static long key(float logit, int token) {
        int bits = Float.floatToIntBits(logit + 0f); // no -0
        int ascending = bits >= 0 ? bits : bits ^ Integer.MAX_VALUE; // ordered as the numbers are
        return ((long) ~ascending << 32) | token;
    }
}
