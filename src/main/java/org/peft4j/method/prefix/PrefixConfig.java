package org.peft4j.method.prefix;

import java.util.List;
import org.peft4j.method.MethodConfig;

/**
 * Settings of prefix tuning: {@code virtualTokens} trained keys and values stand in front of each layer's own. Text
 * positions begin after them, so a text has at most (the model's positions - virtualTokens) tokens.
 *
 * @param virtualTokens length of the prefix; more tokens, more memory and capacity (10 to 100 is usual)
 * @param projection make keys and values from a small embedding by two layers while training; without it they are
 *     trained themselves (P-tuning v2)
 * @param encoderHiddenSize width between the two layers of the projection, or 0 for the model's; only with a projection
 * @param init how the prefix begins
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2101.00190">Prefix-Tuning: Optimizing Continuous Prompts for Generation</a>
 * @see <a href="https://arxiv.org/abs/2110.07602">P-Tuning v2</a>
 */
public record PrefixConfig(
        int virtualTokens, boolean projection, int encoderHiddenSize, InitPrefix init, List<String> modulesToSave)
        implements MethodConfig {
    /** More than any model has positions, or is wide. */
    private static final int MOST = 1 << 16;

    public PrefixConfig {
        if (virtualTokens < 1 || virtualTokens > MOST) {
            throw new IllegalArgumentException("virtualTokens must be "
                    + (virtualTokens < 1 ? "at least 1" : "at most " + MOST) + ", got " + virtualTokens);
        }
        if (encoderHiddenSize < 0 || encoderHiddenSize > MOST) {
            throw new IllegalArgumentException(
                    "encoderHiddenSize must be at least 1, or 0 for the model's width, and at most " + MOST + ", got "
                            + encoderHiddenSize);
        }
        if (encoderHiddenSize > 0 && !projection) {
            throw new IllegalArgumentException("encoderHiddenSize has no meaning without a projection, got "
                    + encoderHiddenSize + "; leave it out, or set projection to true");
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** Twenty tokens, trained themselves, random at the start. */
    public static PrefixConfig defaults() {
        return new PrefixConfig(20, false, 0, InitPrefix.RANDOM, List.of());
    }

    /** The defaults with another length. */
    public static PrefixConfig of(int virtualTokens) {
        return new PrefixConfig(virtualTokens, false, 0, InitPrefix.RANDOM, List.of());
    }

    @Override
    public PrefixConfig withModulesToSave(List<String> modules) {
        return new PrefixConfig(virtualTokens, projection, encoderHiddenSize, init, modules);
    }
}
