package org.peft4j.method.adalora;

/**
 * How AdaLoRA measures what a rank is worth: the products of weights and gradients, smoothed over the steps.
 *
 * @param beta1 share of the former mean in the mean of their sizes, above 0 and below 1
 * @param beta2 the same in the mean of their deviations
 */
public record RankImportance(double beta1, double beta2) {
    public RankImportance {
        if (!(beta1 > 0 && beta1 < 1)) { // also refuses NaN
            throw new IllegalArgumentException("beta1 must be above 0 and below 1, got " + beta1);
        }
        if (!(beta2 > 0 && beta2 < 1)) {
            throw new IllegalArgumentException("beta2 must be above 0 and below 1, got " + beta2);
        }
    }

    /** PEFT's defaults: 0.85 both. */
    public static RankImportance defaults() {
        return new RankImportance(0.85, 0.85);
    }
}
