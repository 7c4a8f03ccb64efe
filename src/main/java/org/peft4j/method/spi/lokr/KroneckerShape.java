package org.peft4j.method.spi.lokr;

import org.peft4j.method.lokr.LoKrConfig;

/**
 * The factors of a layer's update: W₁ [rows1, columns1] and W₂ [rows2, columns2], each whole or a product of rank r.
 *
 * @param whole1 whether W₁ is one matrix
 * @param whole2 whether W₂ is one matrix
 */
record KroneckerShape(
        long r, long rows1, long columns1, long rows2, long columns2, boolean whole1, boolean whole2) {
    static KroneckerShape of(LoKrConfig config, String path, long in, long out) {
        long r = config.ranks().rank(path);
        long rows1 = first(out, config.decomposeFactor());
        long columns1 = first(in, config.decomposeFactor());
        long rows2 = out / rows1;
        long columns2 = in / columns1;
        boolean whole1 = !config.decomposeBoth() || 2 * r >= Math.max(rows1, columns1);
        boolean whole2 = 2 * r >= Math.max(rows2, columns2);
        return new KroneckerShape(r, rows1, columns1, rows2, columns2, whole1, whole2);
    }

    /** The factor itself if it divides n, else the largest divisor that is neither above it nor above the square root; -1: any. */
    static long first(long n, long factor) {
        if (factor > 0 && n % factor == 0) {
            return factor;
        }
        long best = 1;
        for (long m = 2; m * m <= n && (factor < 0 || m <= factor); m++) {
            if (n % m == 0) {
                best = m;
            }
        }
        return best;
    }

    long elements() {
        return (whole1 ? rows1 * columns1 : r * (rows1 + columns1))
                + (whole2 ? rows2 * columns2 : r * (rows2 + columns2));
    }
}
