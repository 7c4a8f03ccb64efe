package org.peft4j.method.spi.adalora;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.PeftKeys;

/** What each key of an AdaLoRA adapter's config means here. PEFT's config has all of LoRA's keys; most of them do nothing there. */
final class AdaLoraKeys {
    /** Of LoRA's keys those that PEFT's AdaLoRA does not look at, null where they are not given. */
    private static final List<String> PASSED_OVER = List.of(
            "use_bdlora",
            "velora_config",
            "kasa_config",
            "monteclora_config",
            "megatron_config",
            "eva_config",
            "corda_config",
            "lora_ga_config");

    private static final List<String> REFUSED = List.of(
            "alora_invocation_tokens",
            "arrow_config",
            "layer_replication",
            "target_parameters",
            "trainable_token_indices");

    static final ConfigKeys TABLE = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed(
                    "target_r",
                    "init_r",
                    "tinit",
                    "tfinal",
                    "deltaT",
                    "total_step",
                    "beta1",
                    "beta2",
                    "orth_reg_weight",
                    "rank_pattern",
                    "lora_alpha",
                    "lora_dropout")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .only("bias", List.of("none"), "biases would be trained, too")
            .unset("PEFT refuses it with AdaLoRA (DoRA)", "use_dora")
            .unset("PEFT refuses it with AdaLoRA (LoftQ)", "loftq_config")
            .unset("the adapter would only act behind these tokens (aLoRA)", "alora_invocation_tokens")
            .unset("several adapters would be mixed for each token (Arrow)", "arrow_config")
            .unset("the model would have copies of its layers", "layer_replication")
            .unset("it adapts tensors that belong to no linear layer", "target_parameters")
            .unset("rows of the table of words would be trained, too", "trainable_token_indices")
            .harmless("AdaLoRA's rank is init_r", "r")
            .harmless("how A, B and E began, which the file's tensors replace", "init_lora_weights")
            .harmless(
                    "PEFT's AdaLoRA does not look at it: A, B and E follow from init_r and lora_alpha alone",
                    "use_rslora",
                    "alpha_pattern",
                    "lora_bias",
                    "use_qalora",
                    "qalora_group_size",
                    "megatron_core",
                    "ensure_weight_tying")
            .harmless("PEFT's AdaLoRA does not look at it", PASSED_OVER.toArray(String[]::new))
            .harmless("PEFT itself passes over it in files", "runtime_config")
            .build();

    private AdaLoraKeys() {}

    /** What PEFT writes for the keys that ask for nothing. */
    static void putUnset(Map<String, @Nullable Object> file) {
        PASSED_OVER.forEach(key -> file.put(key, null));
        REFUSED.forEach(key -> file.put(key, null));
        file.put("alpha_pattern", Map.of());
        file.put("bias", "none");
        file.put("ensure_weight_tying", false);
        file.put("fan_in_fan_out", false);
        file.put("init_lora_weights", true);
        file.put("loftq_config", Map.of());
        file.put("lora_bias", false);
        file.put("megatron_core", "megatron.core");
        file.put("qalora_group_size", 16);
        file.put("r", 8);
        file.put("use_dora", false);
        file.put("use_qalora", false);
        file.put("use_rslora", false);
    }
}
