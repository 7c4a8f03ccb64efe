package org.peft4j.model.decoder;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.LayerOrder;
import org.peft4j.model.Model;
import org.peft4j.model.ModelFamily;
import org.peft4j.model.ModelOptions;

/**
 * Models of one {@code model_type} that are a {@link DecoderModel}: what their config.json says, and what their tensors are called.
 * Stateless.
 */
public abstract class DecoderFamily implements ModelFamily {
    /** Of those whose layers transformers asks its config about, by their numbers there. */
    static final String LAYERS_BY_NUMBER =
            "transformers takes the kind of each layer from a list of its config, by its number,"
                    + " which PEFT leaves as it is";

    /** Of those whose layers PEFT does not find. */
    static final String LAYERS_ELSEWHERE =
            "PEFT does not find its layers, it looks for those of a Llama, BERT or Falcon";

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

    /** Why the layers of these models stand as they are in their files; null: they may stand otherwise. */
    @Nullable
    String orderRefusal() {
        return null;
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
        List<Integer> order = LayerOrder.of(options, modelType, read.stack().layers(), orderRefusal());
        DecoderConfig ordered = options.layers().isEmpty() ? read : read.withLayers(order);
        DecoderConfig config = options.dropout() ? ordered.withDropout() : ordered.withoutDropout();
        return new DecoderModel(this, config, notes, directory, options, changed);
    }
}
