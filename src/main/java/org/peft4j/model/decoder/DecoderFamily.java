package org.peft4j.model.decoder;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.Model;
import org.peft4j.model.ModelFamily;
import org.peft4j.model.ModelOptions;

/**
 * Models of one {@code model_type} that are a {@link DecoderModel}: what their config.json says, and what their tensors are called.
 * Stateless.
 */
public abstract class DecoderFamily implements ModelFamily {
    private final String modelType;
    private final DecoderNames names;
    private final ConfigKeys keys;

    /** @param keys what each key of its config.json means */
    DecoderFamily(String modelType, DecoderNames names, ConfigKeys keys) {
        this.modelType = modelType;
        this.names = names;
        this.keys = keys;
    }

    @Override
    public final String modelType() {
        return modelType;
    }

    final DecoderNames names() {
        return names;
    }

    final ConfigKeys keys() {
        return keys;
    }

    /** What a config says, whose keys were judged. */
    abstract DecoderConfig read(DecoderReader config) throws MalformedFileException;

    @Override
    public final Model open(ModelDirectory directory, ModelOptions options) throws IOException {
        return open(directory, options, Map.of());
    }

    final Model open(ModelDirectory directory, ModelOptions options, Map<String, Tensor> changed) throws IOException {
        List<String> notes = new ArrayList<>(keys.check(directory.configFile(), directory.config()));
        DecoderConfig read = read(new DecoderReader(directory, notes));
        DecoderConfig config = options.dropout() ? read.withDropout() : read.withoutDropout();
        return new DecoderModel(this, config, notes, directory, options, changed);
    }
}
