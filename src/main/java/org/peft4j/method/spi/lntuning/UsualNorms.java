package org.peft4j.method.spi.lntuning;

import java.util.List;
import java.util.Map;
import org.peft4j.method.Targets;

/** The norms that Hugging Face PEFT trains where nothing is said, by the model's {@code model_type}. */
final class UsualNorms {
    private static final List<String> OF_LLAMA = List.of("input_layernorm", "post_attention_layernorm", "norm");
    private static final List<String> OF_GEMMA_2 = List.of(
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
            "norm");

    private static final Map<String, List<String>> NAMES = Map.ofEntries(
            Map.entry("bart", List.of("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm")),
            Map.entry("bloom", List.of("input_layernorm", "post_attention_layernorm", "ln_f")),
            Map.entry("falcon", List.of("input_layernorm", "post_attention_layernorm", "ln_f")),
            Map.entry("gemma", OF_LLAMA),
            Map.entry("gemma2", OF_GEMMA_2),
            Map.entry("gemma3_text", OF_GEMMA_2),
            Map.entry("gpt2", List.of("ln_1", "ln_2", "ln_f")),
            Map.entry("llama", OF_LLAMA),
            Map.entry("mistral", OF_LLAMA),
            Map.entry("phi", List.of("input_layernorm", "final_layernorm")),
            Map.entry("qwen2", List.of("post_attention_layernorm")),
            Map.entry("qwen3", List.of("post_attention_layernorm")),
            Map.entry("t5", List.of("layer_norm", "final_layer_norm")));

    private UsualNorms() {}

    /** The given targets, or the usual ones where none are given. */
    static Targets resolve(Targets targets, String modelType) {
        if (!(targets instanceof Targets.ModelDefault)) {
            return targets;
        }
        List<String> names = NAMES.get(modelType);
        if (names == null) {
            throw new IllegalArgumentException("targets must be given for model type '" + modelType
                    + "', such as [LayerNorm] or [input_layernorm, norm]");
        }
        return Targets.names(names);
    }
}
