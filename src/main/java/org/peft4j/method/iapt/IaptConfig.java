package org.peft4j.method.iapt;

import java.util.List;
import java.util.Objects;
import org.peft4j.method.InitRational;
import org.peft4j.method.MethodConfig;

/**
 * Settings of IAPT: before each layer a small network makes soft tokens of the hidden states of the instruction, which stand before
 * the layer's sequence. A projection down to {@code bottleneckSize}, a pooling over the rows of the instruction with weights of its own
 * for each soft token, an activation that is learnt (a rational function, one a layer), a projection up. The instruction is what a task
 * says: of a prompt and its response the prompt, of a conversation what stands before the first answer, of texts to be classified
 * the whole text; while generating the whole prompt.
 *
 * <p>The paper's text and code were not at hand: what its abstract leaves open is decided here by these settings.
 *
 * @param virtualTokens soft tokens for each layer (4 in the paper)
 * @param bottleneckSize width of the generators; more, more capacity
 * @param shareGroup so many neighbouring layers share the two projections; poolings and activations are each layer's own
 * @param rationalVersion denominators of the activations
 * @param rationalDegrees degrees of numerator and denominator, at most 7 and 6
 * @param rationalInit what the activations are at the start
 * @param promptPositions where soft tokens stand; with {@code shift} a text has at most (the model's positions - virtualTokens) tokens
 * @param promptInsertion how a layer sees them; results are the same
 * @param promptInit how the projections up begin
 * @param bilevel train the activations' coefficients on rows of their own, by an optimiser of their own, behind each step of all others
 *     (bilevel training of first order); else everything is trained together
 * @param bilevelShare share of the rows that train the coefficients then; only with {@code bilevel} another than a half
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2405.18203">IAPT: Instruction-Aware Prompt Tuning for Large Language Models</a>
 * @see <a href="https://arxiv.org/abs/1907.06732">Padé Activation Units</a>
 */
public record IaptConfig(
        int virtualTokens,
        int bottleneckSize,
        int shareGroup,
        RationalVersion rationalVersion,
        List<Integer> rationalDegrees,
        InitRational rationalInit,
        PromptPositions promptPositions,
        PromptInsertion promptInsertion,
        InitPrompt promptInit,
        boolean bilevel,
        double bilevelShare,
        List<String> modulesToSave)
        implements MethodConfig {
    private static final double HALF = 0.5;
    private static final int MOST_TOKENS = 1 << 10;
    private static final int MOST = 1 << 16;
    private static final int MOST_NUMERATOR = 7;
    private static final int MOST_DENOMINATOR = 6;

    public IaptConfig {
        check("virtualTokens", virtualTokens, MOST_TOKENS);
        check("bottleneckSize", bottleneckSize, MOST);
        check("shareGroup", shareGroup, MOST);
        Objects.requireNonNull(rationalVersion, "rationalVersion");
        rationalDegrees = List.copyOf(rationalDegrees);
        if (rationalDegrees.size() != 2
                || rationalDegrees.get(0) < 1
                || rationalDegrees.get(0) > MOST_NUMERATOR
                || rationalDegrees.get(1) < 1
                || rationalDegrees.get(1) > MOST_DENOMINATOR) {
            throw new IllegalArgumentException("rationalDegrees must be two numbers, from 1 to " + MOST_NUMERATOR
                    + " and from 1 to " + MOST_DENOMINATOR + ", got " + rationalDegrees);
        }
        Objects.requireNonNull(rationalInit, "rationalInit");
        if (rationalInit.isFitted() && (rationalDegrees.get(0) < 5 || rationalDegrees.get(1) < 4)) {
            throw new IllegalArgumentException("rationalDegrees must be at least [5, 4] to begin as "
                    + rationalInit.name().toLowerCase(java.util.Locale.ROOT) + ", got " + rationalDegrees
                    + "; identity goes with any");
        }
        Objects.requireNonNull(promptPositions, "promptPositions");
        Objects.requireNonNull(promptInsertion, "promptInsertion");
        if (promptInsertion == PromptInsertion.REPLACE && promptPositions == PromptPositions.NONE) {
            throw new IllegalArgumentException(
                    "promptInsertion replace needs promptPositions shift, got none: what goes"
                            + " through a layer in front of a sequence stands somewhere");
        }
        Objects.requireNonNull(promptInit, "promptInit");
        if (!(bilevelShare > 0 && bilevelShare < 1)) { // also refuses NaN
            throw new IllegalArgumentException("bilevelShare must be above 0 and below 1, got " + bilevelShare);
        }
        if (!bilevel && bilevelShare != HALF) {
            throw new IllegalArgumentException("bilevelShare has no meaning without bilevel, got " + bilevelShare
                    + "; leave it out, or set bilevel to true");
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    private static void check(String name, int value, int most) {
        if (value < 1 || value > most) {
            throw new IllegalArgumentException(
                    name + " must be " + (value < 1 ? "at least 1" : "at most " + most) + ", got " + value);
        }
    }

    /**
     * Four soft tokens, generators of width 32, projections shared by four layers, activations near GELU of degrees 5 and 4, all
     * trained together.
     */
    public static IaptConfig defaults() {
        return builder().build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** A builder that begins with these settings. */
    public Builder toBuilder() {
        return new Builder()
                .virtualTokens(virtualTokens)
                .bottleneckSize(bottleneckSize)
                .shareGroup(shareGroup)
                .rationalVersion(rationalVersion)
                .rationalDegrees(rationalDegrees)
                .rationalInit(rationalInit)
                .promptPositions(promptPositions)
                .promptInsertion(promptInsertion)
                .promptInit(promptInit)
                .bilevel(bilevel)
                .bilevelShare(bilevelShare)
                .modulesToSave(modulesToSave);
    }

    @Override
    public IaptConfig withModulesToSave(List<String> modules) {
        return toBuilder().modulesToSave(modules).build();
    }

    /** Collects settings, beginning with the defaults. */
    public static final class Builder {
        private int virtualTokens = 4;
        private int bottleneckSize = 32;
        private int shareGroup = 4;
        private RationalVersion rationalVersion = RationalVersion.A;
        private List<Integer> rationalDegrees = List.of(5, 4);
        private InitRational rationalInit = InitRational.GELU;
        private PromptPositions promptPositions = PromptPositions.SHIFT;
        private PromptInsertion promptInsertion = PromptInsertion.CACHE;
        private InitPrompt promptInit = InitPrompt.ZERO;
        private boolean bilevel;
        private double bilevelShare = HALF;
        private List<String> modulesToSave = List.of();

        private Builder() {}

        public Builder virtualTokens(int value) {
            virtualTokens = value;
            return this;
        }

        public Builder bottleneckSize(int value) {
            bottleneckSize = value;
            return this;
        }

        public Builder shareGroup(int value) {
            shareGroup = value;
            return this;
        }

        public Builder rationalVersion(RationalVersion value) {
            rationalVersion = value;
            return this;
        }

        public Builder rationalDegrees(List<Integer> value) {
            rationalDegrees = value;
            return this;
        }

        public Builder rationalInit(InitRational value) {
            rationalInit = value;
            return this;
        }

        public Builder promptPositions(PromptPositions value) {
            promptPositions = value;
            return this;
        }

        public Builder promptInsertion(PromptInsertion value) {
            promptInsertion = value;
            return this;
        }

        public Builder promptInit(InitPrompt value) {
            promptInit = value;
            return this;
        }

        public Builder bilevel(boolean value) {
            bilevel = value;
            return this;
        }

        public Builder bilevelShare(double value) {
            bilevelShare = value;
            return this;
        }

        public Builder modulesToSave(List<String> value) {
            modulesToSave = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public IaptConfig build() {
            return new IaptConfig(
                    virtualTokens,
                    bottleneckSize,
                    shareGroup,
                    rationalVersion,
                    rationalDegrees,
                    rationalInit,
                    promptPositions,
                    promptInsertion,
                    promptInit,
                    bilevel,
                    bilevelShare,
                    modulesToSave);
        }
    }
}
