package org.peft4j.nn.seam;

import java.nio.charset.StandardCharsets;
import org.peft4j.random.SplitMix64;

/**
 * Seeds that depend on what they are for and not on the order of calls: mix(run seed, optimiser step, micro-batch, place).
 * Mixed is by the first output of {@link SplitMix64}.
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
        return new SplitMix64(z).next();
    }
}
