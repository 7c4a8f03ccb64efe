package org.peft4j.method.cpt;

import java.util.List;
import org.peft4j.method.MethodConfig;

/**
 * Settings of context-aware prompt tuning: the embedded tokens of a few examples stand in front of each text, and each may move
 * away from its token by a small distance, which is trained: {@code row = E(token) + δ} with
 * {@code |δ| ≤ epsilon √(d / 2048)}. The examples' labels count in the loss as the text's tokens do. For language models.
 *
 * <p>What part of an example a token is, its type says: 1 the words around the input, 2 the input, 3 the words around the output,
 * 4 the label; of the second example 5 to 8, and so on. Tokens of type 0, and labels, stay where they are.
 *
 * @param promptTokens tokens of the examples, as the tokenizer gives them; each is a row
 * @param tokenTypes the type of each token
 * @param loss how labels of the examples count
 * @param distance how far rows may move
 * @param modulesToSave modules that are trained and saved as a whole
 * @see <a href="https://arxiv.org/abs/2410.17222">Context-aware Prompt Tuning: Advancing In-Context Learning with Adversarial
 *     Methods</a>
 */
public record CptConfig(
        List<Integer> promptTokens, List<Integer> tokenTypes, Loss loss, Distance distance, List<String> modulesToSave)
        implements MethodConfig {
    /** More than any model has positions. */
    private static final int MOST = 1 << 16;

    /**
     * How labels of the examples count.
     *
     * @param lossWeights whether as the text's tokens
     * @param lossDecay the factor of {@link LossWeights#DECAY}, above 0 and at most 1
     */
    public record Loss(LossWeights lossWeights, double lossDecay) {
        public Loss {
            if (!(lossDecay > 0 && lossDecay <= 1)) { // also refuses NaN
                throw new IllegalArgumentException("lossDecay must be above 0 and at most 1, got " + lossDecay);
            }
        }
    }

    /**
     * How far rows may move, in a model of width 2048.
     *
     * @param inputEpsilon tokens of inputs
     * @param formatEpsilon the words around inputs and outputs
     */
    public record Distance(double inputEpsilon, double formatEpsilon) {
        public Distance {
            check("inputEpsilon", inputEpsilon);
            check("formatEpsilon", formatEpsilon);
        }

        private static void check(String name, double epsilon) {
            if (!(epsilon >= 0 && epsilon < Float.MAX_VALUE)) { // also refuses NaN
                throw new IllegalArgumentException(name + " must be a number of at least 0, got " + epsilon);
            }
        }
    }

    public CptConfig {
        promptTokens = List.copyOf(promptTokens);
        tokenTypes = List.copyOf(tokenTypes);
        if (promptTokens.size() > MOST) {
            throw new IllegalArgumentException(
                    "promptTokens must be at most " + MOST + " tokens, got " + promptTokens.size());
        }
        if (promptTokens.size() != tokenTypes.size()) {
            throw new IllegalArgumentException("tokenTypes must have one type for each of the " + promptTokens.size()
                    + " promptTokens, got " + tokenTypes.size());
        }
        check("promptTokens must be numbers of the vocabulary", promptTokens);
        check("tokenTypes must be at least 0", tokenTypes);
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    private static void check(String what, List<Integer> values) {
        values.stream().filter(value -> value < 0).findFirst().ifPresent(value -> {
            throw new IllegalArgumentException(what + ", got " + value);
        });
    }

    /** Without any token, which a run has to name; distances as in Hugging Face PEFT. */
    public static CptConfig defaults() {
        return of(List.of(), List.of());
    }

    /** The defaults with these examples. */
    public static CptConfig of(List<Integer> promptTokens, List<Integer> tokenTypes) {
        return new CptConfig(
                promptTokens, tokenTypes, new Loss(LossWeights.NONE, 1), new Distance(0.1, 0.1), List.of());
    }

    @Override
    public CptConfig withModulesToSave(List<String> modules) {
        return new CptConfig(promptTokens, tokenTypes, loss, distance, modules);
    }
}
