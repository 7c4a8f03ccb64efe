package org.peft4j.config;

import java.nio.file.Path;
import java.util.Objects;

/**
 * The base model.
 *
 * @param path a Hugging Face model directory: config.json, model.safetensors, tokenizer.json
 * @param dtype form of the frozen weights
 * @param device where it computes: {@code cpu}, the card {@code cuda:N} ({@code cuda} is the first), or {@code auto}, the first card that can
 *     be used, else the CPU
 * @param dropout the dropout inside the frozen model while training
 */
public record ModelConfig(Path path, Dtype dtype, String device, Dropout dropout) {
    /** The device where nothing is said. */
    public static final String AUTO = "auto";

    /** Dropout of the base model; an adapter's own is a setting of its method. */
    public enum Dropout {
        /** As the model's config.json says, which is how transformers trains. */
        CONFIG,
        /** None. */
        OFF
    }

    public ModelConfig {
        Objects.requireNonNull(path, "path");
        Objects.requireNonNull(dtype, "dtype");
        checkDevice(device);
        Objects.requireNonNull(dropout, "dropout");
    }

    /** A model with float32 weights and the dropout of its config, on the device that there is. */
    public static ModelConfig of(Path path) {
        return new ModelConfig(path, Dtype.FLOAT32, AUTO, Dropout.CONFIG);
    }

    /** The same with weights in another form. */
    public ModelConfig withDtype(Dtype value) {
        return new ModelConfig(path, value, device, dropout);
    }

    /** The same on another device. */
    public ModelConfig withDevice(String value) {
        return new ModelConfig(path, dtype, value, dropout);
    }

    /** The same with other dropout in the frozen model. */
    public ModelConfig withDropout(Dropout value) {
        return new ModelConfig(path, dtype, device, value);
    }

    /**
     * Checks the name of a device.
     *
     * @throws IllegalArgumentException if it is none; whether the card is there is seen when a model is opened
     */
    public static void checkDevice(String device) {
        if (!device.matches("cpu|auto|cuda(:\\d{1,3})?")) {
            throw new IllegalArgumentException(
                    "device must be cpu, cuda:N (cuda:0 is the first card), or auto (the first card"
                            + " that can be used, else the cpu), got '" + device + "'");
        }
    }
}
