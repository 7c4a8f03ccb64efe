package org.peft4j.nn;

import org.peft4j.error.ConfigException;

/**
 * What probabilities dropout has. An element is dropped if a random byte is below {@code round(256 p)}
 * ({@code native/philox.h}), so a probability is one of 256ths: the nearest is taken, from 1/256 to 255/256.
 */
public final class Dropout {
    private static final int STEPS = 256;

    private Dropout() {}

    /**
     * Refuses a probability that would train something else than it says: outside of [0, 1), so near to 0 that nothing is
     * dropped, or so near to 1 that all is.
     *
     * @param name of the setting, for the message
     * @throws ConfigException naming the setting, what it may be and what it is
     */
    public static void check(String name, double p) {
        if (!(p >= 0 && p < 1)) { // also refuses NaN
            throw new ConfigException(name + " must be 0 or a probability below 1, got " + p);
        }
        long dropped = Math.round(STEPS * p);
        if (p > 0 && dropped == 0) {
            throw new ConfigException(name + " must be 0 or at least 1/512 (0.001953125), got " + p
                    + ": dropout goes by 256ths, so this would drop nothing; set 0 if that is meant");
        }
        if (dropped == STEPS) {
            throw new ConfigException(name + " must be below 511/512 (0.998046875), got " + p
                    + ": dropout goes by 256ths, so this would drop everything");
        }
    }
}
