package org.peft4j.method.spi.osf;

import java.util.List;
import java.util.Map;
import org.peft4j.method.Targets;

/** The layers that Hugging Face PEFT's OSF adapts where nothing is said, by {@code model_type}: all linear layers of models it does not know. */
final class UsualOsfTargets {
    private static final List<String> ATTENTION = List.of("q_proj", "k_proj", "v_proj", "o_proj");
    private static final List<String> ALL =
            List.of("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj", "up_proj");

    private static final Map<String, List<String>> DEFAULTS = Map.ofEntries(
            Map.entry("llama", ALL),
            Map.entry("mistral", ALL),
            Map.entry("mixtral", ATTENTION), // PEFT's list has names of an MLP, which its experts have not
            Map.entry("gemma", ALL),
            Map.entry("gemma2", ALL),
            Map.entry("gemma3_text", ALL),
            Map.entry("qwen2", ALL),
            Map.entry("qwen3", ALL),
            Map.entry("gpt2", List.of("c_attn", "c_proj")),
            Map.entry("gpt_neox", List.of("query_key_value", "dense_4h_to_h")));

    private UsualOsfTargets() {}

    static Targets resolve(Targets targets, String modelType) {
        if (!(targets instanceof Targets.ModelDefault)) {
            return targets;
        }
        List<String> names = DEFAULTS.get(modelType);
        return names == null ? Targets.allLinear() : Targets.names(names);
    }
}
