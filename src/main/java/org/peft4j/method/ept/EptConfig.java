package org.peft4j.method.ept;

import java.util.List;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.PromptStart;

/**
 * Settings of EPT (efficient prompt tuning by multi-space projection and prompt fusion): as DePT a short prompt and a low-rank pair
 * over the places of a text; the prompt is enriched by attention to itself and the pair, and projected into several spaces, which a
 * gate weighs. The authors gave no code; this is the reading here, with P [m, d], A [maxLength, r], B [r, d]:
 *
 * <pre>
 * fusion   F = P + softmax((P Wqᵀ)(K Wkᵀ)ᵀ / √a) (K Wvᵀ) Woᵀ      K = P ++ B      Wq, Wk, Wv [a, d]   Wo [d, a]
 * spaces   P_j = U_j relu(D_j F)                                  D_j [q, d]   U_j [d, q]   j = 1 … J
 * gate     g = softmax(Wg mean(F))                                Wg [J, d]
 * input    (F + Σ g_j P_j) ++ (E(x) + A B)
 * </pre>
 *
 * B, Wo, every U_j and Wg begin with zeros, so a new adapter is a prompt and no more. Parameter group {@code prompt} has P,
 * {@code pair} all else: as in DePT the first wants a learning rate of 0.3 or 0.4, the second of 1e-4 to 5e-3
 * ({@code training.groups} says it).
 *
 * @param virtualTokens number m of rows in front
 * @param start how the rows begin: at random, with the words of a text, or with words drawn from the vocabulary
 * @param r rank of the pair, at least 1
 * @param maxLength the most tokens that a text may have: A has as many rows
 * @param network sizes of fusion and spaces
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2405.11464">Efficient Prompt Tuning by Multi-Space Projection and Prompt Fusion</a>
 */
public record EptConfig(
        int virtualTokens, PromptStart start, int r, int maxLength, Network network, List<String> modulesToSave)
        implements MethodConfig {
    /** More than any model has positions, or is wide. */
    private static final int MOST = 1 << 16;

    private static final int MOST_TOKENS = 1 << 20;

    /**
     * Sizes of what makes the rows.
     *
     * @param attention width a of fusion's queries, keys and values
     * @param spaces number J of spaces
     * @param spaceWidth width q inside each space's projection
     */
    public record Network(int attention, int spaces, int spaceWidth) {
        public Network {
            check("attention", attention, MOST);
            check("spaces", spaces, 1 << 10);
            check("spaceWidth", spaceWidth, MOST);
        }

        private static void check(String name, int value, int most) {
            if (value < 1 || value > most) {
                throw new IllegalArgumentException(name + " must be 1 to " + most + ", got " + value);
            }
        }
    }

    public EptConfig {
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
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** DePT's numbers; two spaces. */
    public static EptConfig defaults() {
        return new EptConfig(60, PromptStart.RANDOM, 30, 256, new Network(16, 2, 16), List.of());
    }

    /** The same with another start. */
    public EptConfig withStart(PromptStart other) {
        return new EptConfig(virtualTokens, other, r, maxLength, network, modulesToSave);
    }

    @Override
    public EptConfig withModulesToSave(List<String> modules) {
        return new EptConfig(virtualTokens, start, r, maxLength, network, modules);
    }
}
