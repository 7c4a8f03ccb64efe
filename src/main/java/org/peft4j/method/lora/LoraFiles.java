package org.peft4j.method.lora;

import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.method.FileConfig;
import org.peft4j.method.Targets;

/** LoRA's two files as Hugging Face PEFT 0.21 writes them. */
final class LoraFiles {
    /** What PEFT puts before the path of every tensor: the tuner inside PeftModel, and the model inside the tuner. */
    static final String PREFIX = "base_model.model.";

    /** Keys that change the formula in a way that this method does not have. */
    private static final Set<String> REFUSED = Set.of(
            "use_dora",
            "lora_bias",
            "fan_in_fan_out",
            "layer_replication",
            "trainable_token_indices",
            "target_parameters",
            "use_qalora",
            "use_bdlora",
            "alora_invocation_tokens",
            "arrow_config",
            "megatron_config",
            "kasa_config",
            "velora_config",
            "monteclora_config");

    private static final Set<String> FLAGS = Set.of("use_dora", "use_qalora", "lora_bias", "fan_in_fan_out");

    private LoraFiles() {}

    static LoraConfig read(AdapterFile file) throws MalformedFileException {
        FileConfig config = new FileConfig(file);
        config.refuse(REFUSED);
        try {
            Map<String, Integer> ranks = new LinkedHashMap<>();
            config.numbers("rank_pattern").forEach((key, rank) -> ranks.put(key, rank.intValue()));
            return LoraConfig.builder()
                    .r(config.count("r", 8))
                    .alpha(config.number("lora_alpha", 8))
                    .rslora(config.flag("use_rslora"))
                    .dropout(config.number("lora_dropout", 0))
                    .bias(bias(config))
                    .targets(targets(config, "target_modules", Targets.modelDefault()))
                    .excludeModules(targets(config, "exclude_modules", null))
                    .layersToTransform(config.counts("layers_to_transform"))
                    .layersPattern(layersPattern(config))
                    .rankPattern(ranks)
                    .alphaPattern(config.numbers("alpha_pattern"))
                    .modulesToSave(config.texts("modules_to_save"))
                    .init("gaussian".equals(config.get("init_lora_weights")) ? InitLora.GAUSSIAN : InitLora.KAIMING)
                    .build();
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static @Nullable String layersPattern(FileConfig config) throws MalformedFileException {
        List<String> patterns = config.texts("layers_pattern");
        if (patterns.size() > 1) {
            throw config.wrong("layers_pattern", "must be one name", patterns);
        }
        return patterns.isEmpty() ? null : patterns.get(0);
    }

    private static Bias bias(FileConfig config) throws MalformedFileException {
        String name = config.text("bias");
        for (Bias bias : Bias.values()) {
            if (bias.name().toLowerCase(Locale.ROOT).equals(name == null ? "none" : name)) {
                return bias;
            }
        }
        throw config.wrong("bias", "must be one of [none, all, lora_only]", name);
    }

    private static @Nullable Targets targets(FileConfig config, String key, @Nullable Targets fallback)
            throws MalformedFileException {
        Object value = config.get(key);
        if (value instanceof String text) {
            return Targets.of(text);
        }
        List<String> names = config.texts(key);
        return names.isEmpty() ? fallback : Targets.names(names);
    }

    /** Every key that PEFT writes and that is not the same for all methods; patterns sorted, as PEFT does. */
    static Map<String, Object> write(LoraConfig config) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        for (String key : REFUSED) {
            file.put(key, FLAGS.contains(key) ? false : null);
        }
        for (String key : List.of("corda_config", "eva_config", "lora_ga_config")) {
            file.put(key, null);
        }
        file.put("alpha_pattern", new TreeMap<>(config.alphaPattern()));
        file.put("bias", config.bias().name().toLowerCase(Locale.ROOT));
        file.put("ensure_weight_tying", false);
        file.put(
                "exclude_modules",
                config.excludeModules() == null ? null : config.excludeModules().toTree());
        file.put("init_lora_weights", config.init() == InitLora.GAUSSIAN ? "gaussian" : true);
        file.put("layers_pattern", config.layersPattern());
        file.put("layers_to_transform", config.layersToTransform().isEmpty() ? null : config.layersToTransform());
        file.put("loftq_config", Map.of());
        file.put(
                "lora_alpha",
                config.alpha() == Math.rint(config.alpha()) ? (Object) (long) config.alpha() : config.alpha());
        file.put("lora_dropout", config.dropout());
        file.put("megatron_core", "megatron.core");
        file.put("qalora_group_size", 16);
        file.put("r", config.r());
        file.put("rank_pattern", new TreeMap<>(config.rankPattern()));
        file.put("target_modules", config.targets().toTree());
        file.put("use_rslora", config.rslora());
        return file;
    }

    /** The file's name of a parameter; the bias of an adapted layer is inside PEFT's wrapper of it. */
    static String key(String path, Set<String> adapted) {
        String module = path.substring(0, path.lastIndexOf('.'));
        String last = path.substring(module.length());
        return PREFIX + (adapted.contains(module) ? module + ".base_layer" + last : path);
    }

    /** Second copies that PEFT writes of a saved module's tensors with bias "all": they need no place. */
    static Set<String> copies(AdapterFile file) {
        Set<String> copies = new LinkedHashSet<>();
        for (String name : file.tensors().keySet()) {
            if (name.contains(".original_module.")
                    || (name.contains(".modules_to_save.")
                            && file.tensors().containsKey(name.replace(".modules_to_save.", ".")))) {
                copies.add(name);
            }
        }
        return copies;
    }
}
