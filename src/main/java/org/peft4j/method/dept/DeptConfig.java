package org.peft4j.method.dept;

import java.util.List;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.PromptStart;

/**
 * Settings of DePT (decomposed prompt tuning): {@code virtualTokens} trained rows p in front of each text, fewer than prompt tuning
 * has, and a low-rank pair that is added to the embedded words E(x) by their places in the text:
 *
 * <pre>
 * input = p ++ (E(x) + alpha / √r · A B)      p [virtualTokens, d]   A [maxLength, r]   B [r, d]
 * </pre>
 *
 * The numbers p and A, B have together are those of a longer prompt: virtualTokens · d + r (maxLength + d) = P · d. The prompt
 * (parameter group {@code prompt}) wants a much larger learning rate than the pair (group {@code pair}): the paper has 0.3 or 0.4
 * for it and 1e-4 to 5e-3 for the pair, which {@code training.groups} says.
 *
 * @param virtualTokens number of rows in front (40 to 80 is usual)
 * @param start how the rows begin: at random, with the words of a text, or with words drawn from the vocabulary
 * @param r rank of the pair, at least 1
 * @param alpha numerator of the pair's factor
 * @param maxLength the most tokens that a text may have: A has as many rows
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2309.05173">DePT: Decomposed Prompt Tuning for Parameter-Efficient Fine-tuning</a>
 */
public record DeptConfig(
        int virtualTokens, PromptStart start, int r, double alpha, int maxLength, List<String> modulesToSave)
        implements MethodConfig {
    /** More than any model has positions, or is wide. */
    private static final int MOST = 1 << 16;

    private static final int MOST_TOKENS = 1 << 20;

    public DeptConfig {
        if (virtualTokens < 1 || virtualTokens > MOST) {
            throw new IllegalArgumentException("virtualTokens must be "
                    + (virtualTokens < 1 ? "at least 1" : "at most " + MOST) + ", got " + virtualTokens);
        }
        if (r < 1 || r > MOST) {
            throw new IllegalArgumentException("r must be 1 to " + MOST + ", got " + r);
        }
        if (maxLength < 1 || maxLength > MOST_TOKENS) {
            throw new IllegalArgumentException("maxLength must be 1 to " + MOST_TOKENS + ", got " + maxLength);
        }
        if (!(alpha > 0 && (float) alpha < Float.POSITIVE_INFINITY)) { // also refuses NaN
            throw new IllegalArgumentException("alpha must be a positive number, got " + alpha);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** As many numbers as a prompt of 100 rows has in a model of width 768: 60 rows and rank 30 for texts of 256 tokens. */
    public static DeptConfig defaults() {
        return new DeptConfig(60, PromptStart.RANDOM, 30, 8, 256, List.of());
    }

    /** The same with another start. */
    public DeptConfig withStart(PromptStart other) {
        return new DeptConfig(virtualTokens, other, r, alpha, maxLength, modulesToSave);
    }

    @Override
    public DeptConfig withModulesToSave(List<String> modules) {
        return new DeptConfig(virtualTokens, start, r, alpha, maxLength, modules);
    }
}
