package org.peft4j.config;

/**
 * LoRA-FA (Zhang et al. 2023), as PEFT's {@code create_lorafa_optimizer}: A of a LoRA stays as it begins, B is trained by gradients
 * that are nearest to those of the layer's weight, with β = (0.9, 0.999) and ε = 1e-6; decay comes behind the change. Half of
 * the trained numbers, and layers need not keep what they read. For LoRA of linear layers alone, without DoRA, biases of B and
 * experts' tensors; what else is trained goes by its own gradient. The adapter's file is plain LoRA.
 *
 * @param learningRate the highest learning rate, which the schedule's factor is multiplied with
 * @param weightDecay decay of matrices; norms and biases have none
 * @see <a href="https://arxiv.org/abs/2308.03303">LoRA-FA</a>
 */
public record LoraFaConfig(Double learningRate, double weightDecay) implements OptimizerConfig {
    /** The name in files. */
    public static final String TYPE = "lora-fa";

    public LoraFaConfig {
        Checks.atLeastZero(learningRate, "learningRate");
        Checks.atLeastZero(weightDecay, "weightDecay");
    }

    /** PEFT's: rate 1e-3, no decay. */
    public static LoraFaConfig defaults() {
        return new LoraFaConfig(1e-3, 0);
    }

    @Override
    public String type() {
        return TYPE;
    }

    @Override
    public LoraFaConfig withLearningRate(double value) {
        return new LoraFaConfig(value, weightDecay);
    }

    @Override
    public LoraFaConfig withWeightDecay(double value) {
        return new LoraFaConfig(learningRate, value);
    }
}
