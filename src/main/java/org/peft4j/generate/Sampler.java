package org.peft4j.generate;

import java.util.Arrays;
import org.peft4j.random.SplitMix64;

/** Chooses tokens for one prompt. */
final class Sampler {
    private final Sampling sampling;
    private final SplitMix64 random;

    Sampler(Sampling sampling, long seed) {
        this.sampling = sampling;
        random = new SplitMix64(seed);
    }

    /** A token by its logit; none of them is NaN. */
    int next(float[] logits) {
        return sampling.temperature() == 0 ? likeliest(logits) : draw(logits);
    }

    /** Of several the first. */
    private static int likeliest(float[] logits) {
        int best = 0;
        for (int token = 1; token < logits.length; token++) {
            if (logits[token] > logits[best]) {
                best = token;
            }
        }
        return best;
    }

    private int draw(float[] logits) {
        int k = sampling.topK() == 0 ? logits.length : Math.min(sampling.topK(), logits.length);
        boolean sorted = k < logits.length || sampling.topP() < 1;
        int[] tokens = sorted ? byLogit(logits) : inOrder(logits.length);
        int n = kept(logits, tokens, k);
        double most = sorted ? logits[tokens[0]] : logits[likeliest(logits)];
        double[] weights = new double[n];
        double sum = 0;
        for (int i = 0; i < n; i++) {
            weights[i] = Math.exp((logits[tokens[i]] - most) / sampling.temperature());
            sum += weights[i];
        }
        if (sampling.topP() < 1) {
            double before = 0;
            for (int i = 0; i < n; i++) {
                if (before >= sampling.topP() * sum) {
                    n = i;
                    sum = before;
                }
                before += weights[i];
            }
        }
        double left = random.uniform() * sum;
        int chosen = 0;
        for (int i = 0; i < n; i++) {
            if (weights[i] > 0) { // rounding may leave something behind the last
                chosen = i;
                left -= weights[i];
                if (left < 0) {
                    break;
                }
            }
        }
        return tokens[chosen];
    }

    /** k, and those behind that are as likely as the last of them. */
    private static int kept(float[] logits, int[] tokens, int k) {
        int n = k;
        while (n < tokens.length && logits[tokens[n]] == logits[tokens[k - 1]]) {
            n++;
        }
        return n;
    }

    private static int[] inOrder(int n) {
        int[] tokens = new int[n];
        Arrays.setAll(tokens, i -> i);
        return tokens;
    }

    /** Tokens, the likeliest first; of equal ones that with the smaller number. */
    private static int[] byLogit(float[] logits) {
        long[] keys = new long[logits.length];
        for (int token = 0; token < keys.length; token++) {
            int bits = Float.floatToIntBits(logits[token] + 0f); // no -0
            int ascending = bits >= 0 ? bits : bits ^ Integer.MAX_VALUE; // ordered as the numbers are
            keys[token] = ((long) ~ascending << 32) | token;
        }
        Arrays.sort(keys);
        int[] tokens = new int[keys.length];
        Arrays.setAll(tokens, i -> (int) keys[i]);
        return tokens;
    }
}
