package org.peft4j.nn;

import java.util.List;

/**
 * How fast each pair of a head turns with the position: {@code theta^(-2j / size)}, or what an extension to longer contexts
 * makes of it. Every step is rounded to float32, as transformers' {@code modeling_rope_utils} does: far positions multiply the
 * last bit.
 *
 * @param theta the base
 * @param size numbers of a head that are turned, even
 * @param extension {@link Plain} or how the context was made longer
 */
public record RotaryFrequencies(double theta, int size, Extension extension) {
    /** What turns a head for a context that is longer than the first one. */
    public sealed interface Extension {
        /** Frequencies [size / 2] for a sequence of this many positions. */
        float[] apply(double theta, int size, long length);

        /** What queries and keys are multiplied by. */
        default double scaling() {
            return 1;
        }

        /** {@link #apply} gives the same for lengths of one version; 0 is that of short ones. */
        default long version(long length) {
            return 0;
        }
    }

    /** No extension. */
    public record Plain() implements Extension {
        @Override
        public float[] apply(double theta, int size, long length) {
            float[] frequencies = new float[size / 2];
            for (int j = 0; j < frequencies.length; j++) {
                frequencies[j] = 1 / power(theta, j, size);
            }
            return frequencies;
        }
    }

    /** Positions divided by a factor. */
    public record Linear(double factor) implements Extension {
        @Override
        public float[] apply(double theta, int size, long length) {
            float[] frequencies = new Plain().apply(theta, size, length);
            for (int j = 0; j < frequencies.length; j++) {
                frequencies[j] /= (float) factor;
            }
            return frequencies;
        }
    }

    /**
     * A base that grows with the sequence once it is longer than the model's positions. So the frequencies belong to a whole
     * sequence: each longer one has other hidden states in all of its rows.
     */
    public record Dynamic(double factor, long positions) implements Extension {
        @Override
        public float[] apply(double theta, int size, long length) {
            double longer = factor * Math.max(length, positions) / positions - (factor - 1);
            return new Plain().apply(theta * Math.pow(longer, size / (size - 2.0)), size, length);
        }

        @Override
        public long version(long length) {
            return length > positions ? length : 0;
        }
    }

    /**
     * Llama 3.1's: waves longer than {@code original / low} positions are divided by the factor, those shorter than
     * {@code original / high} stay, between them the two are mixed.
     */
    public record Llama3(double factor, double low, double high, double original) implements Extension {
        @Override
        public float[] apply(double theta, int size, long length) {
            float[] frequencies = new Plain().apply(theta, size, length);
            for (int j = 0; j < frequencies.length; j++) {
                float wave = (float) (2 * Math.PI) / frequencies[j];
                if (wave > original / low) {
                    frequencies[j] /= (float) factor;
                } else if (!(wave < original / high)) {
                    float smooth = ((float) original / wave - (float) low) / (float) (high - low);
                    frequencies[j] = (1 - smooth) * frequencies[j] / (float) factor + smooth * frequencies[j];
                }
            }
            return frequencies;
        }
    }

    /**
     * YaRN (Peng et al. 2023): pairs that turn more than {@code fast} times within the original context stay, those that turn
     * less than {@code slow} times are divided by the factor, with a ramp between them.
     *
     * @param truncate whether the ramp begins and ends at whole pairs
     * @see <a href="https://arxiv.org/abs/2309.00071">YaRN: Efficient Context Window Extension of Large Language Models</a>
     */
    public record Yarn(double factor, double original, double fast, double slow, boolean truncate, double scaling)
            implements Extension {
        @Override
        public float[] apply(double theta, int size, long length) {
            double begin = pairThatTurns(fast, theta, size);
            double end = pairThatTurns(slow, theta, size);
            double low = Math.max(truncate ? Math.floor(begin) : begin, 0);
            double high = Math.min(truncate ? Math.ceil(end) : end, size - 1);
            if (low == high) {
                high += 0.001; // no division by 0
            }
            float[] frequencies = new float[size / 2];
            for (int j = 0; j < frequencies.length; j++) {
                float ramp = Math.min(Math.max((j - (float) low) / (float) (high - low), 0), 1);
                float stays = 1 - ramp;
                float power = power(theta, j, size);
                frequencies[j] = 1 / ((float) factor * power) * (1 - stays) + 1 / power * stays;
            }
            return frequencies;
        }

        private double pairThatTurns(double turns, double theta, int size) {
            return size * Math.log(original / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
        }

        /** The scaling that the paper gives, with DeepSeek's two factors where both are there (else 0). */
        public static double scaling(double factor, double mscale, double mscaleAll) {
            return mscale != 0 && mscaleAll != 0
                    ? scaling(factor, mscale) / scaling(factor, mscaleAll)
                    : scaling(factor, 1);
        }

        private static double scaling(double factor, double mscale) {
            return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
        }
    }

    /**
     * LongRoPE (Ding et al. 2024): each pair is slowed by a factor of its own, of one list for sequences within the original
     * context and of another for longer ones, whose rows are other ones from the first on.
     *
     * @param shortFactors [size / 2]; longFactors alike
     * @see <a href="https://arxiv.org/abs/2402.13753">LongRoPE: Extending LLM Context Window Beyond 2 Million Tokens</a>
     */
    public record LongRope(List<Double> shortFactors, List<Double> longFactors, double original, double scaling)
            implements Extension {
        public LongRope {
            shortFactors = List.copyOf(shortFactors);
            longFactors = List.copyOf(longFactors);
        }

        @Override
        public float[] apply(double theta, int size, long length) {
            List<Double> factors = version(length) == 0 ? shortFactors : longFactors;
            float[] frequencies = new float[size / 2];
            for (int j = 0; j < frequencies.length; j++) {
                frequencies[j] = 1 / (factors.get(j).floatValue() * power(theta, j, size));
            }
            return frequencies;
        }

        @Override
        public long version(long length) {
            return length > original ? 1 : 0;
        }

        /** The scaling that transformers takes where a config names none. */
        public static double scaling(double factor, double original) {
            return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
        }
    }

    /** The frequencies [size / 2] of a sequence of this many positions. */
    public float[] of(long length) {
        return extension.apply(theta, size, length);
    }

    private static float power(double theta, int pair, int size) {
        return (float) Math.pow((float) theta, 2f * pair / size);
    }
}
