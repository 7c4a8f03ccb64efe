package org.peft4j.nn;

import java.nio.charset.StandardCharsets;

/**
 * Seeds that depend on what they are for and not on the order of calls: mix(run seed, optimiser step, micro-batch, place).
 * The mixer is SplitMix64's (Steele, Lea, Flood 2014).
 */
public final class Seeds {
    private Seeds() {}

    /** A seed for a micro-batch of a step of a run. */
    public static long of(long runSeed, long step, long microBatch) {
        return mix(mix(mix(runSeed) + step) + microBatch);
    }

    /** A seed for a named place. */
    public static long mix(long seed, String place) {
        long hash = 0xcbf29ce484222325L; // FNV-1a, 64 bits
        for (byte b : place.getBytes(StandardCharsets.UTF_8)) {
            hash = (hash ^ (b & 0xff)) * 0x100000001b3L;
        }
        return mix(seed ^ mix(hash));
    }

    static long mix(long z) {
        z += 0x9e3779b97f4a7c15L;
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}
