package org.peft4j.config;

import org.jspecify.annotations.Nullable;

/**
 * Adafactor (Shazeer and Stern 2018), as {@code transformers.Adafactor} with ε = (1e-30, 1e-3): hardly anything is kept of a
 * matrix between steps. Prompt tuning's (Lester et al. 2021) has rate 0.3, decay 1e-5, and no {@code scaleParameter}.
 *
 * @param learningRate the highest learning rate, which the schedule's factor is multiplied with; 1e-3 where none is given, and
 *     none with {@code relativeStep}
 * @param weightDecay decay of matrices; norms and biases have none
 * @param scaleParameter whether the rate is multiplied with the parameter's root mean square, 1e-3 at least: a prompt that begins
 *     at 0 hardly moves then
 * @param relativeStep whether the rate is Adafactor's own, 1e-2 at most and one over the root of the steps: without a schedule
 * @param warmupInit whether that rate begins with 1e-6 times the step; only with {@code relativeStep}
 * @param clipThreshold root mean square of a parameter's change, before the rate, at most; above 0
 * @param decayRate exponent, below 0: at step t a share {@code t^decayRate} of the gradients' squares is new
 * @param beta1 share of the former change in the next one, 0 to below 1; null: none is kept
 * @see <a href="https://arxiv.org/abs/1804.04235">Adafactor: Adaptive Learning Rates with Sublinear Memory Cost</a>
 */
public record AdafactorConfig(
        @Nullable Double learningRate,
        double weightDecay,
        boolean scaleParameter,
        boolean relativeStep,
        boolean warmupInit,
        double clipThreshold,
        double decayRate,
        @Nullable Double beta1)
        implements OptimizerConfig {
    /** The name in files. */
    public static final String TYPE = "adafactor";

    private static final double RATE = 1e-3;

    public AdafactorConfig {
        if (relativeStep && learningRate != null) {
            throw new IllegalArgumentException(
                    "learningRate must be left out with relativeStep, which makes its own rate, got " + learningRate);
        }
        if (!relativeStep) {
            learningRate = learningRate == null ? RATE : learningRate;
            Checks.atLeastZero(learningRate, "learningRate");
        }
        Checks.atLeastZero(weightDecay, "weightDecay");
        if (warmupInit && !relativeStep) {
            throw new IllegalArgumentException(
                    "warmupInit needs relativeStep, got true without it; a schedule's warm-up"
                            + " is for learning rates that are given");
        }
        Checks.positive(clipThreshold, "clipThreshold");
        if (!(decayRate < 0 && decayRate > Double.NEGATIVE_INFINITY)) { // also refuses NaN
            throw new IllegalArgumentException("decayRate must be below 0, got " + decayRate);
        }
        if (beta1 != null) {
            Checks.belowOne(beta1, "beta1");
        }
    }

    /** As Hugging Face's Trainer has it: rate 1e-3, no decay, the rate as it is given. */
    public static AdafactorConfig defaults() {
        return builder().build();
    }

    /**
     * {@code transformers.Adafactor()}: Adafactor's own rates. The schedule has to be constant beside them.
     *
     * @param warmupInit whether they begin with 1e-6 times the step
     */
    public static AdafactorConfig relative(boolean warmupInit) {
        return builder()
                .relativeStep(true)
                .scaleParameter(true)
                .warmupInit(warmupInit)
                .build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** A builder that has these settings. */
    public Builder toBuilder() {
        Builder builder = new Builder()
                .weightDecay(weightDecay)
                .scaleParameter(scaleParameter)
                .relativeStep(relativeStep)
                .warmupInit(warmupInit)
                .clipThreshold(clipThreshold)
                .decayRate(decayRate)
                .beta1(beta1);
        builder.learningRate = learningRate;
        return builder;
    }

    @Override
    public String type() {
        return TYPE;
    }

    /** @throws IllegalArgumentException with {@code relativeStep} */
    @Override
    public AdafactorConfig withLearningRate(double value) {
        return toBuilder().learningRate(value).build();
    }

    @Override
    public AdafactorConfig withWeightDecay(double value) {
        return toBuilder().weightDecay(value).build();
    }

    /**
     * Builds an {@link AdafactorConfig}. Each method sets what has its name in {@link AdafactorConfig}, where it is described. For
     * one thread; {@code build} may be called again.
     */
    public static final class Builder {
        private @Nullable Double learningRate;
        private double weightDecay;
        private boolean scaleParameter;
        private boolean relativeStep;
        private boolean warmupInit;
        private double clipThreshold = 1;
        private double decayRate = -0.8;
        private @Nullable Double beta1;

        private Builder() {}

        public Builder learningRate(double value) {
            learningRate = value;
            return this;
        }

        public Builder weightDecay(double value) {
            weightDecay = value;
            return this;
        }

        public Builder scaleParameter(boolean value) {
            scaleParameter = value;
            return this;
        }

        public Builder relativeStep(boolean value) {
            relativeStep = value;
            return this;
        }

        public Builder warmupInit(boolean value) {
            warmupInit = value;
            return this;
        }

        public Builder clipThreshold(double value) {
            clipThreshold = value;
            return this;
        }

        public Builder decayRate(double value) {
            decayRate = value;
            return this;
        }

        public Builder beta1(@Nullable Double value) {
            beta1 = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public AdafactorConfig build() {
            return new AdafactorConfig(
                    learningRate,
                    weightDecay,
                    scaleParameter,
                    relativeStep,
                    warmupInit,
                    clipThreshold,
                    decayRate,
                    beta1);
        }
    }
}
