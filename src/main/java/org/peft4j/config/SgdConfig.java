package org.peft4j.config;

/**
 * Stochastic gradient descent, as {@code torch.optim.SGD}: weight decay is added to the gradient.
 *
 * @param learningRate the highest learning rate, which the schedule's factor is multiplied with
 * @param weightDecay decay of matrices; norms and biases have none
 * @param momentum share of the former momentum, 0 to below 1; 0: none is kept
 * @param dampening share of a gradient that is left out of the momentum, 0 to 1
 * @param nesterov whether a step goes where the momentum will be; needs a momentum without dampening
 */
public record SgdConfig(Double learningRate, double weightDecay, double momentum, double dampening, boolean nesterov)
        implements OptimizerConfig {
    /** The name in files. */
    public static final String TYPE = "sgd";

    public SgdConfig {
        Checks.atLeastZero(learningRate, "learningRate");
        Checks.atLeastZero(weightDecay, "weightDecay");
        Checks.belowOne(momentum, "momentum");
        Checks.share(dampening, "dampening");
        if (dampening > 0 && momentum == 0) {
            throw new IllegalArgumentException(
                    "dampening means nothing without a momentum, got " + dampening + "; leave it out, or set momentum");
        }
        if (nesterov && momentum == 0) {
            throw new IllegalArgumentException(
                    "nesterov needs a momentum, got true and momentum 0; leave it out, or set momentum");
        }
        if (nesterov && dampening > 0) {
            throw new IllegalArgumentException(
                    "nesterov needs a momentum without dampening, got true and dampening " + dampening);
        }
    }

    /** Torch's: rate 1e-3, no decay, no momentum. */
    public static SgdConfig defaults() {
        return new SgdConfig(1e-3, 0, 0, 0, false);
    }

    @Override
    public String type() {
        return TYPE;
    }

    @Override
    public SgdConfig withLearningRate(double value) {
        return new SgdConfig(value, weightDecay, momentum, dampening, nesterov);
    }

    @Override
    public SgdConfig withWeightDecay(double value) {
        return new SgdConfig(learningRate, value, momentum, dampening, nesterov);
    }

    /** The same with another momentum, without dampening. */
    public SgdConfig withMomentum(double value, boolean nesterov) {
        return new SgdConfig(learningRate, weightDecay, value, 0, nesterov);
    }

    /** The same with another momentum and dampening, not Nesterov's. */
    public SgdConfig withMomentum(double value, double dampening) {
        return new SgdConfig(learningRate, weightDecay, value, dampening, false);
    }
}
