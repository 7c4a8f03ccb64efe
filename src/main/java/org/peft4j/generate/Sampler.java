package org.peft4j.generate;

import java.util.Arrays;
import org.peft4j.random.SplitMix64;

/** Chooses tokens for one answer. */
final class Sampler {
    private final Sampling sampling;
    private final SplitMix64 random;

    Sampler(Sampling sampling, long seed) {
        this.sampling = sampling;
        random = new SplitMix64(seed);
    }

    /** A token by its logit, penalties paid; none of them is NaN. */
    int next(float[] logits) {
        return sampling.greedy()
                ? likeliest(logits)
                : Choice.of(logits, sampling).draw(random.uniform());
    }

    /** Of several the first. */
    static int likeliest(float[] logits) {
        int best = 0;
        for (int token = 1; token < logits.length; token++) {
            if (logits[token] > logits[best]) {
                best = token;
            }
        }
        return best;
    }

    /**
     * What can come, and how likely.
     *
     * @param tokens the first n of them
     * @param weights their probabilities, times a constant
     * @param sum of the first n weights
     */
    @SuppressWarnings("ArrayRecordComponent") // made and used in one place
    record Choice(int[] tokens, double[] weights, int n, double sum) {
        static Choice of(float[] logits, Sampling sampling) {
            Choice choice;
            if (sampling.topK() > 0 && sampling.topK() < logits.length) {
                choice = all(logits, Ranking.first(logits, sampling.topK()), sampling)
                        .fewest(sampling.topP());
            } else if (sampling.topP() < 1) {
                choice = fewest(logits, sampling);
            } else {
                int[] tokens = new int[logits.length];
                Arrays.setAll(tokens, i -> i);
                choice = all(logits, tokens, sampling);
            }
            return sampling.minP() > 0 ? choice.notBelow(sampling.minP()) : choice;
        }

        private static double weight(float logit, float most, Sampling sampling) {
            return Math.exp(((double) logit - most) / sampling.temperature());
        }

        private static Choice all(float[] logits, int[] tokens, Sampling sampling) {
            float most = logits[likeliest(logits)];
            double[] weights = new double[tokens.length];
            double sum = 0;
            for (int i = 0; i < tokens.length; i++) {
                weights[i] = weight(logits[tokens[i]], most, sampling);
                sum += weights[i];
            }
            return new Choice(tokens, weights, tokens.length, sum);
        }

        /** Top-p of all tokens: ranked as far as it takes. */
        private static Choice fewest(float[] logits, Sampling sampling) {
            float most = logits[likeliest(logits)];
            double all = 0;
            for (float logit : logits) {
                all += weight(logit, most, sampling);
            }
            Ranking ranking = Ranking.of(logits);
            int[] tokens = new int[16];
            double[] weights = new double[16];
            int n = 0;
            double sum = 0;
            while (n < logits.length && (n == 0 || sum < sampling.topP() * all)) {
                if (n == tokens.length) {
                    tokens = Arrays.copyOf(tokens, 2 * n);
                    weights = Arrays.copyOf(weights, 2 * n);
                }
                tokens[n] = ranking.next();
                weights[n] = weight(logits[tokens[n]], most, sampling);
                sum += weights[n++];
            }
            return new Choice(tokens, weights, n, sum);
        }

        /** Top-p of tokens in order. */
        private Choice fewest(double p) {
            double before = 0;
            int kept = 0;
            while (kept < n && (kept == 0 || p == 1 || before < p * sum)) {
                before += weights[kept++];
            }
            return new Choice(tokens, weights, kept, before);
        }

        private Choice notBelow(double share) {
            double most = Arrays.stream(weights, 0, n).max().orElseThrow();
            int[] own = new int[n];
            double[] ownWeights = new double[n];
            int kept = 0;
            double left = 0;
            for (int i = 0; i < n; i++) {
                if (weights[i] >= share * most) {
                    own[kept] = tokens[i];
                    ownWeights[kept++] = weights[i];
                    left += weights[i];
                }
            }
            return new Choice(own, ownWeights, kept, left);
        }

        /** @param uniform from 0 to below 1 */
        int draw(double uniform) {
            double left = uniform * sum;
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
    }
}
