package org.peft4j.method.spi.bottleneck;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Targets;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckLora;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.InvertibleAdapter;
import org.peft4j.method.bottleneck.OriginalNorms;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.bottleneck.Scaling;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;

/**
 * The config of bottlenecks' files: settings by the names that AdapterHub's library has for them, but for {@code activation}
 * ({@code non_linearity} there). Files of earlier releases have {@code reduction_factor}, {@code activation} and {@code dropout} alone;
 * what is missing is as in {@code seq_bn}.
 */
final class BottleneckFiles {
    static final ConfigKeys KEYS = ConfigKeys.of("peft4j")
            .all(PeftKeys.COMMON)
            .obeyed("reduction_factor", "activation", "dropout")
            .obeyed("mh_adapter", "output_adapter", "leave_out", "rational_init", "init_weights", "is_parallel")
            .obeyed("scaling", "original_ln_before", "original_ln_after", "residual_before_ln")
            .obeyed("phm_layer", "phm_dim", "phm_rank", "shared_phm_rule", "factorized_phm_rule", "factorized_phm_W")
            .obeyed("shared_W_phm", "phm_init_range", "phm_c_init", "phm_bias")
            .obeyed("inv_adapter", "inv_adapter_reduction_factor")
            .obeyed("num_virtual_tokens", "encoder_hidden_size")
            .obeyed("use_gating", "shared_gating", "r", "lora_dropout", "target_modules", "stochastic_depth")
            .build();

    private BottleneckFiles() {}

    static BottleneckConfig read(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        BottleneckConfig usual = BottleneckConfig.defaults();
        try {
            return new BottleneckConfig(
                    config.flag("mh_adapter", usual.mhAdapter()),
                    config.flag("output_adapter", usual.outputAdapter()),
                    reductionFactor(config),
                    config.counts("leave_out"),
                    word(config, "activation", usual.activation()),
                    word(config, "rational_init", usual.rationalInit()),
                    word(config, "init_weights", usual.init()),
                    config.flag("is_parallel"),
                    scaling(config),
                    new OriginalNorms(
                            config.flag("original_ln_before", true),
                            config.flag("original_ln_after", true),
                            residual(config)),
                    config.flag("phm_layer") ? phm(config) : null,
                    prefix(config),
                    lora(config),
                    config.flag("use_gating", false),
                    invertible(config),
                    config.number("dropout", 0),
                    config.number("stochastic_depth", 0),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static ReductionFactor reductionFactor(PeftConfigReader config) throws MalformedFileException {
        return config.get("reduction_factor") instanceof Map
                ? ReductionFactor.ofTree(config.numbers("reduction_factor"))
                : ReductionFactor.of(config.number("reduction_factor", 16));
    }

    private static Scaling scaling(PeftConfigReader config) throws MalformedFileException {
        Object value = config.get("scaling");
        return value instanceof String word ? Scaling.parse(word) : Scaling.of(config.number("scaling", 1));
    }

    private static OriginalNorms.Residual residual(PeftConfigReader config) throws MalformedFileException {
        Object value = config.get("residual_before_ln");
        String text = value == null ? "true" : String.valueOf(value);
        for (OriginalNorms.Residual residual : OriginalNorms.Residual.values()) {
            if (residual.fileName().equals(text)) {
                return residual;
            }
        }
        throw config.wrong("residual_before_ln", "must be true, false or post_add", value);
    }

    /** Where phm_layer is false the others mean nothing, as in the library, which writes them always. */
    private static PhmConfig phm(PeftConfigReader config) throws MalformedFileException {
        PhmConfig usual = PhmConfig.defaults();
        return new PhmConfig(
                config.count("phm_dim", usual.dim()),
                new PhmConfig.Rule(
                        config.flag("shared_phm_rule", usual.rule().sharedRule()),
                        config.flag("factorized_phm_rule", usual.rule().factorizedRule()),
                        word(config, "phm_c_init", usual.rule().ruleInit()),
                        config.number("phm_init_range", usual.rule().initRange())),
                new PhmConfig.Weights(
                        config.count("phm_rank", usual.weights().rank()),
                        config.flag("factorized_phm_W", usual.weights().factorizedW()),
                        config.flag("shared_W_phm", usual.weights().sharedW())),
                config.flag("phm_bias", usual.bias()));
    }

    private static @Nullable BottleneckPrefix prefix(PeftConfigReader config) throws MalformedFileException {
        if (!config.flag("shared_gating", true) && !config.flag("use_gating", false)) {
            throw config.wrong("shared_gating", "has no meaning without use_gating", false);
        }
        return config.get("num_virtual_tokens") == null
                ? null
                : new BottleneckPrefix(
                        config.count("num_virtual_tokens", 0),
                        config.count("encoder_hidden_size", 0),
                        config.flag("shared_gating", true));
    }

    private static @Nullable BottleneckLora lora(PeftConfigReader config) throws MalformedFileException {
        if (config.get("r") == null) {
            for (String key : List.of("target_modules", "lora_dropout")) {
                if (config.get(key) != null) {
                    throw config.wrong(
                            key, "must not be given without r, the rank of the LoRA that it is about", config.get(key));
                }
            }
            return null;
        }
        Targets targets = config.targets("target_modules");
        return new BottleneckLora(
                config.count("r", 0),
                config.number("lora_dropout", 0),
                targets == null ? Targets.modelDefault() : targets);
    }

    /** Where inv_adapter is null the factor means nothing, as in the library. */
    private static InvertibleAdapter invertible(PeftConfigReader config) throws MalformedFileException {
        return config.get("inv_adapter") == null
                ? InvertibleAdapter.NONE
                : new InvertibleAdapter(
                        InvertibleAdapter.InvAdapter.parse(config.text("inv_adapter")),
                        config.number("inv_adapter_reduction_factor", 2));
    }

    private static <E extends Enum<E>> E word(PeftConfigReader config, String key, E usual)
            throws MalformedFileException {
        String text = config.text(key);
        E[] values = usual.getDeclaringClass().getEnumConstants();
        for (E value : values) {
            if (text == null ? value == usual : word(value).equals(text)) {
                return value;
            }
        }
        throw config.wrong(
                key,
                "must be one of "
                        + Arrays.stream(values).map(BottleneckFiles::word).toList(),
                text);
    }

    private static String word(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }

    static Map<String, Object> write(BottleneckConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("activation", word(config.activation()));
        file.put("dropout", config.dropout());
        file.put("init_weights", word(config.init()));
        file.put("is_parallel", config.parallel());
        file.put("leave_out", config.leaveOut());
        file.put("mh_adapter", config.mhAdapter());
        file.put("original_ln_after", config.norms().originalLnAfter());
        file.put("original_ln_before", config.norms().originalLnBefore());
        file.put("output_adapter", config.outputAdapter());
        file.put("phm_layer", config.phm() != null);
        file.put("reduction_factor", config.reductionFactor().toTree());
        file.put(
                "residual_before_ln",
                switch (config.norms().residualBeforeLn()) {
                    case OUTPUT -> true;
                    case INPUT -> false;
                    case POST_ADD -> "post_add";
                });
        file.put("scaling", config.scaling().toTree());
        file.put("stochastic_depth", config.stochasticDepth());
        file.put("use_gating", config.gate());
        if (config.activation() == BottleneckConfig.Activation.RATIONAL) {
            file.put("rational_init", word(config.rationalInit()));
        }
        if (config.phm() != null) {
            write(config.phm(), file);
        }
        InvertibleAdapter.InvAdapter invertible = config.invertible().invAdapter();
        if (invertible != null) {
            file.put("inv_adapter", invertible.fileName());
            file.put("inv_adapter_reduction_factor", config.invertible().invAdapterReductionFactor());
        }
        if (config.prefix() != null) {
            file.put("num_virtual_tokens", config.prefix().virtualTokens());
            file.put("encoder_hidden_size", config.prefix().encoderHiddenSize());
            file.put("shared_gating", config.prefix().sharedGate());
        }
        if (config.lora() != null) {
            file.put("r", config.lora().r());
            file.put("lora_dropout", config.lora().dropout());
            file.put("target_modules", config.lora().targets().toTree());
        }
        return file;
    }

    private static void write(PhmConfig phm, Map<String, Object> file) {
        file.put("factorized_phm_W", phm.weights().factorizedW());
        file.put("factorized_phm_rule", phm.rule().factorizedRule());
        file.put("phm_bias", phm.bias());
        file.put("phm_c_init", word(phm.rule().ruleInit()));
        file.put("phm_dim", phm.dim());
        file.put("phm_init_range", phm.rule().initRange());
        file.put("phm_rank", phm.weights().rank());
        file.put("shared_W_phm", phm.weights().sharedW());
        file.put("shared_phm_rule", phm.rule().sharedRule());
    }
}
