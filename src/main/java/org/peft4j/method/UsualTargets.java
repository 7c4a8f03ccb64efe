package org.peft4j.method;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The linear layers that Hugging Face PEFT adapts where nothing is said, by the model's {@code model_type}: LoRA's, which most methods share. */
public final class UsualTargets {
    private static final List<String> Q_V = List.of("q_proj", "v_proj");
    private static final List<String> QUERY_VALUE = List.of("query", "value");
    private static final List<String> FUSED = List.of("query_key_value");

    private static final Map<String, List<String>> DEFAULTS = Map.ofEntries(
            Map.entry("bart", Q_V),
            Map.entry("bert", QUERY_VALUE),
            Map.entry("bloom", FUSED),
            Map.entry("deberta-v2", List.of("query_proj", "value_proj")),
            Map.entry("electra", QUERY_VALUE),
            Map.entry("falcon", FUSED),
            Map.entry("gemma", Q_V),
            Map.entry("gemma2", Q_V),
            Map.entry("gemma3_text", Q_V),
            Map.entry("gpt2", List.of("c_attn")),
            Map.entry("gpt_neox", FUSED),
            Map.entry("llama", Q_V),
            Map.entry("mistral", Q_V),
            Map.entry("mixtral", Q_V),
            Map.entry("mpt", List.of("Wqkv")),
            Map.entry("opt", Q_V),
            Map.entry("phi", List.of("q_proj", "v_proj", "fc1", "fc2")),
            Map.entry("qwen2", Q_V),
            Map.entry("qwen3", Q_V),
            Map.entry("roberta", QUERY_VALUE),
            Map.entry("t5", List.of("q", "v")));

    private UsualTargets() {}

    /** The usual targets of a model type, empty if there are none. */
    public static Optional<Targets> of(String modelType) {
        return Optional.ofNullable(DEFAULTS.get(modelType)).map(Targets::names);
    }

    /**
     * The given targets, or the usual ones where none are given.
     *
     * @throws IllegalArgumentException if none are given and the model type has none
     */
    public static Targets resolve(Targets targets, String modelType) {
        return targets instanceof Targets.ModelDefault
                ? of(modelType)
                        .orElseThrow(() -> new IllegalArgumentException("targets must be given for model type '"
                                + modelType + "', such as [q_proj, v_proj] or all-linear"))
                : targets;
    }
}
