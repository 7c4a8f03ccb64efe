package org.peft4j.method.spi.boft;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Tensors;

/**
 * Where features stand while one of BOFT's rotations turns blocks: chunks of half a block change places inside groups of b · 2^factor
 * features, those at even places first and then those at odd ones.
 */
final class Butterfly {
    private Butterfly() {}

    /** Of each place the feature that stands there, int64 [n]. */
    static Tensor places(long n, long block, int factor) {
        return Tensors.ofLongs(of(n, block, factor), Math.toIntExact(n));
    }

    /** Of each feature its place, int64 [n]. */
    static Tensor back(long n, long block, int factor) {
        long[] places = of(n, block, factor);
        long[] back = new long[places.length];
        for (int i = 0; i < back.length; i++) {
            back[Math.toIntExact(places[i])] = i;
        }
        return Tensors.ofLongs(back, back.length);
    }

    private static long[] of(long n, long block, int factor) {
        long half = block / 2;
        long group = block << factor;
        long chunks = group / half;
        long[] places = new long[Math.toIntExact(n)];
        for (long i = 0; i < n; i++) {
            long chunk = i % group / half;
            long from = chunk < chunks / 2 ? 2 * chunk : 2 * (chunk - chunks / 2) + 1;
            places[Math.toIntExact(i)] = i - i % group + from * half + i % half;
        }
        return places;
    }
}
