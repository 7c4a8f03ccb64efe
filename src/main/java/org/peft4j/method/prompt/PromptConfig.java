package org.peft4j.method.prompt;

import java.util.List;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.PromptStart;

/**
 * Settings of prompt tuning: {@code virtualTokens} trained rows stand in front of each text, in place of embedded words. They
 * take positions, so a text has at most (the model's positions - virtualTokens) tokens.
 *
 * @param virtualTokens number of rows; more, more memory and capacity (10 to 100 is usual)
 * @param start how the rows begin: at random, with the words of a text, or with words drawn from the vocabulary
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2104.08691">The Power of Scale for Parameter-Efficient Prompt Tuning</a>
 */
public record PromptConfig(int virtualTokens, PromptStart start, List<String> modulesToSave) implements MethodConfig {
    /** More than any model has positions. */
    private static final int MOST = 1 << 16;

    public PromptConfig {
        if (virtualTokens < 1 || virtualTokens > MOST) {
            throw new IllegalArgumentException("virtualTokens must be "
                    + (virtualTokens < 1 ? "at least 1" : "at most " + MOST) + ", got " + virtualTokens);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** Rows that begin random. */
    public PromptConfig(int virtualTokens, List<String> modulesToSave) {
        this(virtualTokens, PromptStart.RANDOM, modulesToSave);
    }

    /** Twenty rows. */
    public static PromptConfig defaults() {
        return of(20);
    }

    /** The defaults with another number of rows. */
    public static PromptConfig of(int virtualTokens) {
        return new PromptConfig(virtualTokens, List.of());
    }

    /** The same with another start. */
    public PromptConfig withStart(PromptStart other) {
        return new PromptConfig(virtualTokens, other, modulesToSave);
    }

    @Override
    public PromptConfig withModulesToSave(List<String> modules) {
        return new PromptConfig(virtualTokens, start, modules);
    }
}
