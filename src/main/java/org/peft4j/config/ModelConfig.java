package org.peft4j.config;

import java.nio.file.Path;
import java.util.Objects;

/**
 * The base model.
 *
 * @param path a Hugging Face model directory: config.json, model.safetensors, tokenizer.json
 * @param dropout the dropout inside the frozen model while training
 */
public record ModelConfig(Path path, Dropout dropout) {
    /** Dropout of the base model; an adapter's own is a setting of its method. */
    public enum Dropout {
        /** As the model's config.json says, which is how transformers trains. */
        CONFIG,
        /** None. */
        OFF
    }

    public ModelConfig {
        Objects.requireNonNull(path, "path");
        Objects.requireNonNull(dropout, "dropout");
    }

    /** A model with the dropout of its config. */
    public static ModelConfig of(Path path) {
        return new ModelConfig(path, Dropout.CONFIG);
    }
}
