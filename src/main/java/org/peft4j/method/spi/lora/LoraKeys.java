package org.peft4j.method.spi.lora;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;

/** What each key of a LoRA adapter's config means here. */
final class LoraKeys {
    /** Keys that ask for another formula than LoRA's, with the value that PEFT writes where they are not asked for. */
    private static final Map<String, Object> OTHER_FORMULAS = new TreeMap<>(Map.of("use_qalora", false));

    private static final List<String> OTHER_FORMULAS_NULL = List.of(
            "use_bdlora", "arrow_config", "kasa_config", "velora_config", "monteclora_config", "megatron_config");

    private static final List<String> OTHER_STARTS = List.of("corda_config", "lora_ga_config", "loftq_config");

    static final ConfigKeys TABLE = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed(
                    "r",
                    "lora_alpha",
                    "use_rslora",
                    "lora_dropout",
                    "bias",
                    "target_modules",
                    "target_parameters",
                    "exclude_modules",
                    "layers_to_transform",
                    "layers_pattern",
                    "rank_pattern",
                    "alpha_pattern",
                    "init_lora_weights",
                    "eva_config", // of init_lora_weights eva; PEFT passes over it beside another, and so is done here
                    "use_dora",
                    "lora_bias",
                    "trainable_token_indices",
                    "alora_invocation_tokens",
                    "layer_replication")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .unset("it pools the input in groups on its way into A (QALoRA)", "use_qalora")
            .unset("A or B would be block-diagonal (BD-LoRA)", "use_bdlora")
            .unset("several adapters would be mixed for each token (Arrow)", "arrow_config")
            .unset("it takes singular values from the base and trains others (KaSA)", "kasa_config")
            .unset("it changes what backward keeps (VeLoRA)", "velora_config")
            .unset("A and B would be drawn anew in each step (MonteCLoRA)", "monteclora_config")
            .unset("layers that Megatron spreads over devices are not offered", "megatron_config")
            .harmless("settings of a start that init_lora_weights has to name", OTHER_STARTS.toArray(String[]::new))
            .harmless("PEFT itself passes over it in files", "runtime_config")
            .harmless("only read where megatron_config is there", "megatron_core")
            .harmless("only read where use_qalora is true", "qalora_group_size")
            .harmless(
                    "concerns weights that two modules share; classifier and backbone share none",
                    "ensure_weight_tying")
            .build();

    /** Starts from which PEFT changes the base too, so that A and B alone do not say what is computed. */
    private static final Map<String, String> OTHER_BASES = Map.of(
            "pissa", "PEFT takes the largest singular values out of the base while loading",
            "corda", "the base was changed by the statistics of data that the file does not hold",
            "olora", "PEFT takes a part of the QR decomposition out of the base while loading",
            "loftq", "PEFT quantizes the base while loading",
            "lora_ga", "the base was changed by gradients that the file does not hold",
            "mica", "B is frozen while training goes on");

    private LoraKeys() {}

    /** What PEFT writes for the keys that ask for nothing. */
    static void putUnset(Map<String, @Nullable Object> file) {
        file.putAll(OTHER_FORMULAS);
        OTHER_FORMULAS_NULL.forEach(key -> file.put(key, null));
        OTHER_STARTS.forEach(key -> file.put(key, null));
        file.put("eva_config", null);
        file.put("fan_in_fan_out", false);
        file.put("loftq_config", Map.of());
        file.put("ensure_weight_tying", false);
        file.put("megatron_core", "megatron.core");
        file.put("qalora_group_size", 16);
    }

    /**
     * How A began. True, false, "gaussian", "orthogonal" and "eva" say how A and B were first filled, which the file's tensors
     * replace; the others change the base.
     */
    static InitLora init(PeftConfigReader config) throws MalformedFileException {
        String key = "init_lora_weights";
        Object value = config.get(key);
        if (value == null || value instanceof Boolean) {
            return InitLora.KAIMING;
        }
        String word = String.valueOf(value).toLowerCase(Locale.ROOT);
        for (Map.Entry<String, String> other : OTHER_BASES.entrySet()) {
            if (value instanceof String && word.startsWith(other.getKey())) {
                throw config.wrong(
                        key,
                        "must be true, false, gaussian, orthogonal or eva: with '" + other.getKey() + "' "
                                + other.getValue() + "; where PEFT can make plain LoRA of it, save it there with"
                                + " path_initial_model_for_weight_conversion",
                        value);
            }
        }
        return switch (word) {
            case "gaussian" -> InitLora.GAUSSIAN;
            case "orthogonal" -> InitLora.ORTHOGONAL;
            case "eva" -> InitLora.EVA;
            default -> throw config.wrong(key, "must be true, false, gaussian, orthogonal or eva", value);
        };
    }
}
