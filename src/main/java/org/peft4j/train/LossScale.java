package org.peft4j.train;

/**
 * The factor of a float16 loss, so that small gradients do not become 0 (Micikevicius et al. 2018): halved whenever gradients
 * overflow, doubled after many steps without.
 *
 * @see <a href="https://arxiv.org/abs/1710.03740">Mixed Precision Training</a>
 */
final class LossScale {
    private static final double FIRST = 1 << 16;
    private static final int GOOD_STEPS = 2000;

    private double value = FIRST;
    private int good;
    private long overflows;

    /** The factor now. */
    double value() {
        return value;
    }

    /** Steps whose gradients overflowed. */
    long overflows() {
        return overflows;
    }

    /** A step's gradients were finite. */
    void fits() {
        if (++good == GOOD_STEPS) {
            good = 0;
            value *= 2;
        }
    }

    /**
     * A step's gradients were not finite: it is left out.
     *
     * @return whether a smaller factor may help; not where the loss itself, unscaled, overflows
     */
    boolean overflowed() {
        overflows++;
        good = 0;
        value /= 2;
        return value >= 1;
    }
}
