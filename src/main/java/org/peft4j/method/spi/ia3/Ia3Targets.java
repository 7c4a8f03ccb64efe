package org.peft4j.method.spi.ia3;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.ModulePattern;
import org.peft4j.method.Targets;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.spi.TargetModules;

/** Which layers (IA)³ scales, and on which side, as Hugging Face PEFT decides it. */
final class Ia3Targets {
    /** PEFT's defaults by {@code model_type}: the targets, the last of which is scaled at its input. */
    private static final Map<String, List<String>> USUAL = Map.ofEntries(
            Map.entry("bart", List.of("q_proj", "v_proj", "fc2")),
            Map.entry("bert", List.of("key", "value", "output.dense")),
            Map.entry("bloom", List.of("query_key_value", "mlp.dense_4h_to_h")),
            Map.entry("deberta-v2", List.of("key_proj", "value_proj", "output.dense")),
            Map.entry("falcon", List.of("query_key_value", "dense_4h_to_h")),
            Map.entry("gemma", List.of("q_proj", "v_proj", "down_proj")),
            Map.entry("gemma2", List.of("q_proj", "v_proj", "down_proj")),
            Map.entry("gemma3_text", List.of("q_proj", "v_proj", "down_proj")),
            Map.entry("gpt2", List.of("c_attn", "mlp.c_proj")),
            Map.entry("gpt_neox", List.of("query_key_value", "dense_4h_to_h")),
            Map.entry("llama", List.of("k_proj", "v_proj", "down_proj")),
            Map.entry("mistral", List.of("k_proj", "v_proj", "down_proj")),
            Map.entry("opt", List.of("q_proj", "k_proj", "fc2")),
            Map.entry("phi", List.of("q_proj", "v_proj", "fc2")),
            Map.entry("qwen2", List.of("q_proj", "v_proj", "down_proj")),
            Map.entry("qwen3", List.of("q_proj", "v_proj", "down_proj")),
            Map.entry("roberta", List.of("key", "value", "output.dense")),
            Map.entry("t5", List.of("k", "v", "wo")));

    private final TargetModules modules;
    private final @Nullable Targets feedforward;

    /** @param config whose targets are resolved */
    Ia3Targets(Ia3Config config) {
        modules = new TargetModules(config.targets(), config.excludeModules(), config.modulesToSave());
        feedforward = config.feedforward();
    }

    /** The settings with targets that can be matched: the given ones, or the model's usual ones. */
    static Ia3Config resolve(Ia3Config config, String modelType) {
        boolean targets = config.targets() instanceof Targets.ModelDefault;
        boolean feedforward = config.feedforward() instanceof Targets.ModelDefault;
        if (!targets && !feedforward) {
            return config;
        }
        List<String> usual = USUAL.get(modelType);
        if (usual == null) {
            throw new IllegalArgumentException((targets ? "targets" : "feedforward") + " must be given for model type '"
                    + modelType + "', such as [k_proj, v_proj, down_proj]");
        }
        List<String> last = List.of(usual.get(usual.size() - 1));
        Targets chosen = targets ? Targets.names(usual) : config.targets();
        Targets scaledInputs = feedforward ? among(chosen, last) : config.feedforward();
        return new Ia3Config(chosen, scaledInputs, config.excludeModules(), config.modulesToSave());
    }

    /** The model's usual layer only if the targets name it, too. */
    private static @Nullable Targets among(Targets targets, List<String> last) {
        return targets instanceof Targets.Names names && !names.names().containsAll(last) ? null : Targets.names(last);
    }

    TargetModules modules() {
        return modules;
    }

    /** Refuses a feedforward that means none of the targets. */
    void checkFeedforward(List<String> targets) {
        if (feedforward instanceof Targets.Names names) {
            for (String name : names.names()) {
                if (targets.stream().noneMatch(path -> path.endsWith(name))) {
                    throw new IllegalArgumentException("feedforward: none of the targets ends with '" + name
                            + "', they are such as " + targets.get(0));
                }
            }
        } else if (feedforward != null && targets.stream().noneMatch(this::scalesInput)) {
            throw new IllegalArgumentException("feedforward: '" + feedforward.toTree()
                    + "' matches none of the targets, such as " + targets.get(0));
        }
    }

    /** PEFT asks whether the path ends with the name, at a dot or not. */
    boolean scalesInput(String path) {
        if (feedforward instanceof Targets.Names names) {
            return names.names().stream().anyMatch(path::endsWith);
        }
        return feedforward instanceof Targets.Regex regex
                && ModulePattern.of(regex.regex()).matches(path);
    }
}
