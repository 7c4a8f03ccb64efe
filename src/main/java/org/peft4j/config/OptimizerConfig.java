package org.peft4j.config;

import org.jspecify.annotations.Nullable;

/**
 * How parameters are changed by their gradients: one record for each optimiser, chosen by {@code training.optimizer.type} in run
 * files. Each has the settings and, but for rates, the defaults of the library it is known from; a setting of another one is
 * refused. Before the change gradients are clipped together ({@link TrainingConfig#maxGradNorm}), whatever the optimiser is.
 */
public sealed interface OptimizerConfig
        permits AdafactorConfig, AdamWConfig, LionConfig, LoraFaConfig, MuonConfig, SgdConfig {
    /** Its name in files, such as {@code adamw}. */
    String type();

    /**
     * The highest learning rate, which the schedule's factor is multiplied with; parameter groups may have others. Null: the
     * optimiser makes its own ({@link AdafactorConfig#relativeStep}).
     */
    @Nullable
    Double learningRate();

    /** Decay of matrices; norms and biases have none. Parameter groups may have others. */
    double weightDecay();

    /** The same with another highest learning rate. */
    OptimizerConfig withLearningRate(double value);

    /** The same with another decay of matrices. */
    OptimizerConfig withWeightDecay(double value);

    /** AdamW, rate 5e-4, decay 0.01. */
    static AdamWConfig defaults() {
        return AdamWConfig.defaults();
    }
}
