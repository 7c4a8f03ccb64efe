package org.peft4j.method.iapt;

import java.util.List;
import java.util.Objects;
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
        List<String> modulesToSave)
        implements MethodConfig {
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
        if (rationalInit != InitRational.IDENTITY && (rationalDegrees.get(0) < 5 || rationalDegrees.get(1) < 4)) {
            throw new IllegalArgumentException("rationalDegrees must be at least [5, 4] to begin as "
                    + rationalInit.name().toLowerCase(java.util.Locale.ROOT) + ", got " + rationalDegrees
                    + "; identity goes with any");
        }
        Objects.requireNonNull(promptPositions, "promptPositions");
        Objects.requireNonNull(promptInsertion, "promptInsertion");
        if (promptInsertion == PromptInsertion.REPLACE && promptPositions == PromptPositions.NONE) {
            throw new IllegalArgumentException("promptInsertion replace needs promptPositions shift, got none: what goes"
                    + " through a layer in front of a sequence stands somewhere");
        }
        Objects.requireNonNull(promptInit, "promptInit");
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    private static void check(String name, int value, int most) {
        if (value < 1 || value > most) {
            throw new IllegalArgumentException(
                    name + " must be " + (value < 1 ? "at least 1" : "at most " + most) + ", got " + value);
        }
    }

    /** Four soft tokens, generators of width 32, projections shared by four layers, activations near GELU of degrees 5 and 4. */
    public static IaptConfig defaults() {
        return new IaptConfig(
                4,
                32,
                4,
                RationalVersion.A,
                List.of(5, 4),
                InitRational.GELU,
                PromptPositions.SHIFT,
                PromptInsertion.CACHE,
                InitPrompt.ZERO,
                List.of());
    }

    /** These with other soft tokens: how many, made by generators of which width, which how many layers share. */
    public IaptConfig withSizes(int tokens, int bottleneck, int share) {
        return new IaptConfig(
                tokens,
                bottleneck,
                share,
                rationalVersion,
                rationalDegrees,
                rationalInit,
                promptPositions,
                promptInsertion,
                promptInit,
                modulesToSave);
    }

    /** These with other activations. */
    public IaptConfig withRational(RationalVersion version, List<Integer> degrees, InitRational start) {
        return new IaptConfig(
                virtualTokens,
                bottleneckSize,
                shareGroup,
                version,
                degrees,
                start,
                promptPositions,
                promptInsertion,
                promptInit,
                modulesToSave);
    }

    /** These with soft tokens elsewhere, or seen otherwise. */
    public IaptConfig withPrompts(PromptPositions positions, PromptInsertion insertion) {
        return new IaptConfig(
                virtualTokens,
                bottleneckSize,
                shareGroup,
                rationalVersion,
                rationalDegrees,
                rationalInit,
                positions,
                insertion,
                promptInit,
                modulesToSave);
    }

    @Override
    public IaptConfig withModulesToSave(List<String> modules) {
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
                modules);
    }
}
