package org.peft4j.method;

import java.util.Arrays;
import java.util.Locale;

/**
 * The methods that exist. The constant's own name is the {@code peft_type} of adapter files, {@link #yamlName()} the
 * {@code type} of a run's {@code method}.
 */
public enum PeftType {
    LORA,
    IA3,
    PREFIX_TUNING,
    PROMPT_TUNING,
    P_TUNING,
    TRAINABLE_TOKENS,
    BITFIT,
    BOTTLENECK;

    /** The name in run files: {@code lora}, {@code prefix-tuning}. */
    public String yamlName() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** Whether Hugging Face PEFT has the method, so that it reads and writes the same files. */
    public boolean isPefts() {
        return this != BITFIT && this != BOTTLENECK;
    }

    /** The name in {@code adapter_config.json}, as Hugging Face PEFT writes it if it has the method: {@code LORA}. */
    public String fileName() {
        return name();
    }

    /**
     * The method of an adapter file.
     *
     * @throws IllegalArgumentException if it is not one of ours
     */
    public static PeftType ofFileName(String name) {
        return Arrays.stream(values())
                .filter(type -> type.fileName().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("peft_type '" + name
                        + "' is not supported; supported are "
                        + Arrays.stream(values()).map(PeftType::fileName).toList()));
    }
}
