package org.peft4j.config;

/**
 * AdamW, as {@code torch.optim.AdamW}.
 *
 * @param learningRate the highest learning rate, which the schedule's factor is multiplied with
 * @param weightDecay decay of matrices; norms and biases have none
 * @param beta1 share of the former gradients in their mean, 0 to below 1
 * @param beta2 share of the former squares in theirs
 * @param eps added to the root of the squares' mean
 */
public record AdamWConfig(Double learningRate, double weightDecay, double beta1, double beta2, double eps)
        implements OptimizerConfig {
    /** The name in files. */
    public static final String TYPE = "adamw";

    private static final double LEAST_EPS = 1e-30; // float32 has hardly less

    public AdamWConfig {
        Checks.atLeastZero(learningRate, "learningRate");
        Checks.atLeastZero(weightDecay, "weightDecay");
        Checks.belowOne(beta1, "beta1");
        Checks.belowOne(beta2, "beta2");
        if (!(eps >= LEAST_EPS && eps < Double.POSITIVE_INFINITY)) { // also refuses NaN
            throw new IllegalArgumentException("eps must be at least " + LEAST_EPS + ", got " + eps);
        }
    }

    /** Rate 5e-4, decay 0.01, β = (0.9, 0.999), ε = 1e-8. */
    public static AdamWConfig defaults() {
        return new AdamWConfig(5e-4, 0.01, 0.9, 0.999, 1e-8);
    }

    @Override
    public String type() {
        return TYPE;
    }

    @Override
    public AdamWConfig withLearningRate(double value) {
        return new AdamWConfig(value, weightDecay, beta1, beta2, eps);
    }

    @Override
    public AdamWConfig withWeightDecay(double value) {
        return new AdamWConfig(learningRate, value, beta1, beta2, eps);
    }

    /** The same with other shares of what was before. */
    public AdamWConfig withBetas(double first, double second) {
        return new AdamWConfig(learningRate, weightDecay, first, second, eps);
    }

    /** The same with another ε. */
    public AdamWConfig withEps(double value) {
        return new AdamWConfig(learningRate, weightDecay, beta1, beta2, value);
    }
}
