package org.peft4j.method.spi.lokr;

import org.peft4j.method.lokr.LoKrConfig;

/**
 * The factors of a layer's update.
 *
 * @param r rank of a factor that is a product
 * @param first W₁, the smaller one unless the settings ask for more
 * @param second W₂, whose rows and columns are those of the layer over W₁'s
 */
record KroneckerShape(long r, Factor first, Factor second) {
    /**
     * A factor [rows, columns].
     *
     * @param whole whether it is one matrix; else a product of rank r
     */
    record Factor(long rows, long columns, boolean whole) {
        long elements(long r) {
            return whole ? rows * columns : r * (rows + columns);
        }
    }

    static KroneckerShape of(LoKrConfig config, String path, long in, long out) {
        long r = config.ranks().rank(path);
        long rows = first(out, config.decomposeFactor());
        long columns = first(in, config.decomposeFactor());
        return new KroneckerShape(
                r,
                new Factor(rows, columns, !config.decomposeBoth() || 2 * r >= Math.max(rows, columns)),
                new Factor(out / rows, in / columns, 2 * r >= Math.max(out / rows, in / columns)));
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
        return first.elements(r) + second.elements(r);
    }
}
