package org.peft4j.config;

import java.util.Objects;

/**
 * How parameters are changed by their gradients.
 *
 * @param type the rule
 * @param learningRate the highest learning rate, which the schedule's factor is multiplied with
 * @param weightDecay decay of matrices; norms and biases have none
 */
public record OptimizerConfig(Type type, double learningRate, double weightDecay) {
    /** The rule. */
    public enum Type {
        /** AdamW with torch's defaults: β = (0.9, 0.999), ε = 1e-8. */
        ADAMW
    }

    public OptimizerConfig {
        Objects.requireNonNull(type, "type");
        Checks.atLeastZero(learningRate, "learningRate");
        Checks.atLeastZero(weightDecay, "weightDecay");
    }

    /** AdamW, rate 5e-4, decay 0.01. */
    public static OptimizerConfig defaults() {
        return new OptimizerConfig(Type.ADAMW, 5e-4, 0.01);
    }

    /** The same with another highest learning rate. */
    public OptimizerConfig withLearningRate(double value) {
        return new OptimizerConfig(type, value, weightDecay);
    }

    /** The same with another decay of matrices. */
    public OptimizerConfig withWeightDecay(double value) {
        return new OptimizerConfig(type, learningRate, value);
    }
}
