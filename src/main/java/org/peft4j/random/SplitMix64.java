package org.peft4j.random;

/**
 * The generator SplitMix64 (Steele, Lea, Flood 2014): 64-bit state, {@code state += 0x9e3779b97f4a7c15}, output is the
 * state mixed by two multiplications. Written out, so that orders and first values depend on the seed alone and on no Java
 * version. The one generator of the project: orders of examples, first values and seeds come from it.
 */
public final class SplitMix64 {
    private static final long GAMMA = 0x9e3779b97f4a7c15L;
    private static final double ULP = 0x1.0p-53;

    private long state;
    private double spare;
    private boolean hasSpare;

    public SplitMix64(long seed) {
        state = seed;
    }

    public long next() {
        state += GAMMA;
        return mix(state);
    }

    /** A number from 0 to below {@code bound}, each equally likely: the high half of a product, biased draws redrawn. */
    public long below(long bound) {
        long threshold = Long.remainderUnsigned(-bound, bound);
        while (true) {
            long value = next();
            if (Long.compareUnsigned(value * bound, threshold) >= 0) {
                // Unsigned high half; bound is positive, so only the sign of value needs a correction.
                return Math.multiplyHigh(value, bound) + (value < 0 ? bound : 0);
            }
        }
    }

    /** Uniform in [0, 1): the high 53 bits of an output. */
    public double uniform() {
        return (next() >>> 11) * ULP;
    }

    /**
     * Normal with mean 0 and deviation 1, by Marsaglia's polar method (1964): points of the square [-1, 1)² until one lies in
     * the circle, which gives two values. {@link StrictMath} has the same bits everywhere, Math has not.
     */
    public double normal() {
        if (hasSpare) {
            hasSpare = false;
            return spare;
        }
        while (true) {
            double x = 2 * uniform() - 1;
            double y = 2 * uniform() - 1;
            double square = x * x + y * y;
            if (square > 0 && square < 1) {
                double scale = StrictMath.sqrt(-2 * StrictMath.log(square) / square);
                spare = y * scale;
                hasSpare = true;
                return x * scale;
            }
        }
    }

    /** The output for a state; neighbours give unrelated numbers. */
    public static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}
