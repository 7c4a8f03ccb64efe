package org.peft4j.data;

/**
 * The generator SplitMix64 (Steele, Lea, Flood 2014): 64-bit state, {@code state += 0x9e3779b97f4a7c15}, output is the
 * state mixed by two multiplications. Written out, so that an order depends on the seed alone and on no Java version.
 */
final class SplitMix64 {
    private static final long GAMMA = 0x9e3779b97f4a7c15L;

    private long state;

    SplitMix64(long seed) {
        state = seed;
    }

    long next() {
        state += GAMMA;
        return mix(state);
    }

    /** A number from 0 to below {@code bound}, each equally likely: the high half of a product, biased draws redrawn. */
    long below(long bound) {
        long threshold = Long.remainderUnsigned(-bound, bound);
        while (true) {
            long value = next();
            if (Long.compareUnsigned(value * bound, threshold) >= 0) {
                // Unsigned high half; bound is positive, so only the sign of value needs a correction.
                return Math.multiplyHigh(value, bound) + (value < 0 ? bound : 0);
            }
        }
    }

    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}
