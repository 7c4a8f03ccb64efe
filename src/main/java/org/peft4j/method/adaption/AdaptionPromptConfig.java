package org.peft4j.method.adaption;

import java.util.List;
import org.peft4j.method.MethodConfig;

/**
 * Settings of LLaMA-Adapter as Hugging Face PEFT has it: in the topmost layers {@code adapterLen} trained rows give keys and values,
 * whose own softmax, times a trained gate that begins at 0, is added to what attention gives. So it changes nothing at the start. For
 * models of the types {@code llama}, {@code mistral} and {@code gpt2}.
 *
 * @param adapterLen number of rows in each of these layers (10 in the paper)
 * @param adapterLayers how many layers, counted from the top (30 of 32 in the paper); 0: all
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2303.16199">LLaMA-Adapter: Efficient Fine-tuning of Language Models with Zero-init Attention</a>
 */
public record AdaptionPromptConfig(int adapterLen, int adapterLayers, List<String> modulesToSave)
        implements MethodConfig {
    /** More than any model has positions. */
    private static final int MOST = 1 << 16;

    public AdaptionPromptConfig {
        if (adapterLen < 1 || adapterLen > MOST) {
            throw new IllegalArgumentException("adapterLen must be "
                    + (adapterLen < 1 ? "at least 1" : "at most " + MOST) + ", got " + adapterLen);
        }
        if (adapterLayers < 0) {
            throw new IllegalArgumentException(
                    "adapterLayers must be at least 1, or 0 for all layers, got " + adapterLayers);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** Ten rows in every layer. */
    public static AdaptionPromptConfig defaults() {
        return new AdaptionPromptConfig(10, 0, List.of());
    }

    @Override
    public AdaptionPromptConfig withModulesToSave(List<String> modules) {
        return new AdaptionPromptConfig(adapterLen, adapterLayers, modules);
    }
}
