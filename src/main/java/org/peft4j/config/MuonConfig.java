package org.peft4j.config;

import java.util.Objects;

/**
 * Muon (Jordan 2024), as {@code torch.optim.Muon}: a matrix goes by its momentum made orthogonal (iterated in bfloat16, with torch's
 * coefficients). Whatever has not two dimensions (biases, norms, vectors, scales) goes by AdamW with β = (0.9, 0.999),
 * ε = 1e-8, at the rate and decay of its group. Heads and tables that are trained are matrices, too.
 *
 * @param learningRate the highest learning rate, which the schedule's factor is multiplied with
 * @param weightDecay decay of matrices; norms and biases have none
 * @param momentum share of the former momentum, 0 to below 1
 * @param nesterov whether a step goes where the momentum will be
 * @param nsSteps Newton-Schulz iterations, 1 to 99
 * @param adjustLrFn how a matrix's shape changes its rate
 * @see <a href="https://kellerjordan.github.io/posts/muon/">Muon: An optimizer for hidden layers in neural networks</a>
 */
public record MuonConfig(
        Double learningRate, double weightDecay, double momentum, boolean nesterov, int nsSteps, AdjustLrFn adjustLrFn)
        implements OptimizerConfig {
    /** The name in files. */
    public static final String TYPE = "muon";

    private static final int MOST_STEPS = 99;

    /** How a matrix's shape changes its rate: torch's {@code adjust_lr_fn}. */
    public enum AdjustLrFn {
        /** Times the root of rows over columns, if there are more rows. Usual rates are about 0.02. */
        ORIGINAL("original"),
        /** Times 0.2 times the root of the larger of both: rates and decays are those of AdamW, also beside vectors. */
        MATCH_RMS_ADAMW("match_rms_adamw");

        private final String fileName;

        AdjustLrFn(String fileName) {
            this.fileName = fileName;
        }

        /** As files write it. */
        public String fileName() {
            return fileName;
        }
    }

    public MuonConfig {
        Checks.atLeastZero(learningRate, "learningRate");
        Checks.atLeastZero(weightDecay, "weightDecay");
        Checks.belowOne(momentum, "momentum");
        Checks.atLeast(1, nsSteps, "nsSteps");
        if (nsSteps > MOST_STEPS) {
            throw new IllegalArgumentException("nsSteps must be at most " + MOST_STEPS + ", got " + nsSteps);
        }
        Objects.requireNonNull(adjustLrFn, "adjustLrFn");
    }

    /** Torch's: rate 1e-3, decay 0.1, momentum 0.95, Nesterov's, 5 iterations, {@link AdjustLrFn#ORIGINAL}. */
    public static MuonConfig defaults() {
        return new MuonConfig(1e-3, 0.1, 0.95, true, 5, AdjustLrFn.ORIGINAL);
    }

    @Override
    public String type() {
        return TYPE;
    }

    @Override
    public MuonConfig withLearningRate(double value) {
        return new MuonConfig(value, weightDecay, momentum, nesterov, nsSteps, adjustLrFn);
    }

    @Override
    public MuonConfig withWeightDecay(double value) {
        return new MuonConfig(learningRate, value, momentum, nesterov, nsSteps, adjustLrFn);
    }

    /** The same with another momentum. */
    public MuonConfig withMomentum(double value, boolean nesterov) {
        return new MuonConfig(learningRate, weightDecay, value, nesterov, nsSteps, adjustLrFn);
    }

    /** The same with another number of iterations. */
    public MuonConfig withNsSteps(int value) {
        return new MuonConfig(learningRate, weightDecay, momentum, nesterov, value, adjustLrFn);
    }

    /** The same with another way from a matrix's shape to its rate. */
    public MuonConfig withAdjustLrFn(AdjustLrFn value) {
        return new MuonConfig(learningRate, weightDecay, momentum, nesterov, nsSteps, value);
    }
}
