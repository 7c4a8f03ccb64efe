package org.peft4j.model.decoder;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.model.FrozenTensors;
import org.peft4j.nn.LayerNorm;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Norm;
import org.peft4j.nn.RmsNorm;

/**
 * The layers of one decoder, made from its frozen tensors.
 *
 * @param experts of mixtures that were made, by the mixture's path in the directory: layers that share their tensors share them
 */
record DecoderTensors(
        DecoderConfig config, DecoderNames names, FrozenTensors frozen, Map<String, List<SparseMlp.Expert>> experts) {
    DecoderTensors(DecoderConfig config, DecoderNames names, FrozenTensors frozen) {
        this(config, names, frozen, new HashMap<>());
    }

    Linear linear(String path, long out, long in, boolean bias) throws IOException {
        String matrix = path + ".weight";
        return new Linear(
                path,
                names.transposed() ? frozen.transposedMatrix(matrix, out, in) : frozen.matrix(matrix, out, in),
                bias ? frozen.vector(path + ".bias", out) : null);
    }

    /** Layers that read the same x. */
    LinearGroup group(Linear... layers) {
        return frozen.group(layers);
    }

    /** A norm of hidden states. */
    Norm norm(String path) throws IOException {
        long width = config.stack().hiddenSize();
        return switch (config.norm().kind()) {
            case RMS -> rmsNorm(path, width);
            case LAYER ->
                new LayerNorm(
                        path,
                        frozen.vector(path + ".weight", width),
                        frozen.vector(path + ".bias", width),
                        config.norm().eps());
        };
    }

    /** The same below a block, or null where the family has none there. */
    @Nullable
    Norm norm(String block, @Nullable String name) throws IOException {
        return name == null ? null : norm(block + name);
    }

    RmsNorm rmsNorm(String path, long width) throws IOException {
        return new RmsNorm(
                path,
                frozen.vector(path + ".weight", width),
                config.norm().eps(),
                config.norm().offset());
    }
}
