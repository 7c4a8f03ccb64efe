package org.peft4j.method.bottleneck;

/**
 * Both layers of a bottleneck as sums of Kronecker products (parametrised hypercomplex multiplication), as Compacter has them:
 * {@code y = x Σ kron(R_i, W_i) + b}, i from 1 to dim, R_i [dim, dim] the rule, W_i [in/dim, out/dim]. Names and defaults are those of
 * AdapterHub's library, without {@code phm}.
 *
 * @param dim number of summands; has to divide the width and the bottleneck
 * @param rule all R_i
 * @param weights all W_i
 * @param bias whether the layers have biases
 * @see <a href="https://arxiv.org/abs/2106.04647">Compacter: Efficient Low-Rank Hypercomplex Adapter Layers</a>
 */
public record PhmConfig(int dim, Rule rule, Weights weights, boolean bias) {
    /**
     * The R_i.
     *
     * @param sharedRule whether all layers of the model have one rule
     * @param factorizedRule whether each R_i is a column times a row
     * @param ruleInit how it begins
     * @param initRange standard deviation of its first values, or their bound
     */
    public record Rule(boolean sharedRule, boolean factorizedRule, RuleInit ruleInit, double initRange) {
        public Rule {
            if (!(initRange > 0 && initRange <= 1)) { // also refuses NaN
                throw new IllegalArgumentException("initRange must be above 0 and at most 1, got " + initRange);
            }
        }
    }

    /** How the rule begins. */
    public enum RuleInit {
        /** Normal with standard deviation initRange. */
        NORMAL,
        /** Uniform between -initRange and initRange. */
        UNIFORM
    }

    /**
     * The W_i, which begin Xavier-normal.
     *
     * @param rank of each; only with factorizedW another than 1
     * @param factorizedW whether each is a product of two factors [in/dim, rank] and [rank, out/dim]
     * @param sharedW whether all layers of the model have one W for the way down and one for the way up
     */
    public record Weights(int rank, boolean factorizedW, boolean sharedW) {
        public Weights {
            check("rank", rank);
            if (!factorizedW && rank != 1) {
                throw new IllegalArgumentException("rank has no meaning without factorizedW, got " + rank
                        + "; leave it out, or set factorizedW to true");
            }
        }
    }

    private static final int MOST = 1 << 10;

    public PhmConfig {
        check("dim", dim);
    }

    private static void check(String name, int value) {
        if (value < 1 || value > MOST) {
            throw new IllegalArgumentException(name + " must be 1 to " + MOST + ", got " + value);
        }
    }

    /** Four summands of rank 1, one rule for all layers, biases. */
    public static PhmConfig defaults() {
        return new PhmConfig(4, new Rule(true, false, RuleInit.NORMAL, 1e-4), new Weights(1, true, false), true);
    }

    /** The same of another size. */
    public PhmConfig withSizes(int newDim, int newRank) {
        return new PhmConfig(newDim, rule, new Weights(newRank, weights.factorizedW, weights.sharedW), bias);
    }

    /** The same with another rule. */
    public PhmConfig withRule(Rule newRule) {
        return new PhmConfig(dim, newRule, weights, bias);
    }

    /** The same with other W_i. */
    public PhmConfig withWeights(Weights newWeights) {
        return new PhmConfig(dim, rule, newWeights, bias);
    }
}
