package org.peft4j.config;

import java.nio.file.Path;
import java.util.Objects;
import org.peft4j.method.LayerReplication;

/**
 * The base model.
 *
 * @param path a Hugging Face model directory: config.json, model.safetensors, tokenizer.json
 * @param dtype form of the frozen weights
 * @param device where it computes: {@code cpu}, the card {@code cuda:N} ({@code cuda} is the first), or {@code auto}, the first card that can
 *     be used, else the CPU
 * @param dropout the dropout inside the frozen model while training
 * @param layerReplication the model's layers in another order, some more than once, as an adapter asks for it; a run takes it from
 *     its method
 */
public record ModelConfig(Path path, Dtype dtype, String device, Dropout dropout, LayerReplication layerReplication) {
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
        Objects.requireNonNull(layerReplication, "layerReplication");
    }

    /** A model with its layers as they are. */
    public ModelConfig(Path path, Dtype dtype, String device, Dropout dropout) {
        this(path, dtype, device, dropout, LayerReplication.NONE);
    }

    /** A model with float32 weights and the dropout of its config, on the device that there is. */
    public static ModelConfig of(Path path) {
        return new ModelConfig(path, Dtype.FLOAT32, AUTO, Dropout.CONFIG);
    }

    /** The same with weights in another form. */
    public ModelConfig withDtype(Dtype value) {
        return new ModelConfig(path, value, device, dropout, layerReplication);
    }

    /** The same on another device. */
    public ModelConfig withDevice(String value) {
        return new ModelConfig(path, dtype, value, dropout, layerReplication);
    }

    /** The same with other dropout in the frozen model. */
    public ModelConfig withDropout(Dropout value) {
        return new ModelConfig(path, dtype, device, value, layerReplication);
    }

    /** The same with its layers in another order, for adapters that ask for it. */
    public ModelConfig withLayerReplication(LayerReplication value) {
        return new ModelConfig(path, dtype, device, dropout, value);
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
