package org.peft4j.config;

/**
 * Lion (Chen et al. 2023): every number changes by the rate, only the direction is learnt. It wants 3 to 10 times less rate than
 * AdamW, and as much more decay.
 *
 * @param learningRate the highest learning rate, which the schedule's factor is multiplied with
 * @param weightDecay decay of matrices; norms and biases have none
 * @param beta1 share of the momentum in a step, 0 to below 1
 * @param beta2 share of the former momentum in the next one, 0 to below 1
 * @see <a href="https://arxiv.org/abs/2302.06675">Symbolic Discovery of Optimization Algorithms</a>
 */
public record LionConfig(Double learningRate, double weightDecay, double beta1, double beta2)
        implements OptimizerConfig {
    /** The name in files. */
    public static final String TYPE = "lion";

    public LionConfig {
        Checks.atLeastZero(learningRate, "learningRate");
        Checks.atLeastZero(weightDecay, "weightDecay");
        Checks.belowOne(beta1, "beta1");
        Checks.belowOne(beta2, "beta2");
    }

    /** The authors': rate 1e-4, no decay, β = (0.9, 0.99). */
    public static LionConfig defaults() {
        return new LionConfig(1e-4, 0, 0.9, 0.99);
    }

    @Override
    public String type() {
        return TYPE;
    }

    @Override
    public LionConfig withLearningRate(double value) {
        return new LionConfig(value, weightDecay, beta1, beta2);
    }

    @Override
    public LionConfig withWeightDecay(double value) {
        return new LionConfig(learningRate, value, beta1, beta2);
    }

    /** The same with other shares of the momentum. */
    public LionConfig withBetas(double first, double second) {
        return new LionConfig(learningRate, weightDecay, first, second);
    }
}
