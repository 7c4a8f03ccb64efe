package org.peft4j.method.lora;

/**
 * How {@link InitLora#EVA} makes A, and shares the ranks out; names and defaults are those of Hugging Face PEFT's class of this name.
 *
 * @param rho a layer gets at most r times this rank; 1: every layer keeps its own
 * @param tau directions that turn less than this between two batches, as a cosine, are found: their layer looks no further
 * @param useLabelMask whether only the tokens that are learnt count, where the task has such
 * @param whiten divides each direction by the root of its singular value
 * @param adjustScalingFactors whether alpha changes with a layer's rank, so that the scale stays what it was
 */
public record EvaConfig(double rho, double tau, boolean useLabelMask, boolean whiten, boolean adjustScalingFactors) {
    /** More is no rank of any layer. */
    private static final double MAX_RHO = LoraConfig.MAX_RANK;

    private static final EvaConfig DEFAULTS = new EvaConfig(2, 0.99, true, false, true);

    public EvaConfig {
        if (!(rho >= 1 && rho <= MAX_RHO)) {
            throw new IllegalArgumentException("rho must be from 1 to " + LoraConfig.MAX_RANK + ", got " + rho);
        }
        if (!(tau >= 0 && tau <= 1)) {
            throw new IllegalArgumentException("tau must be from 0 to 1, got " + tau);
        }
    }

    /** Rho 2, tau 0.99, tokens that are learnt, alpha adjusted. */
    public static EvaConfig defaults() {
        return DEFAULTS;
    }
}
