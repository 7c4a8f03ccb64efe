package org.peft4j.io;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.safetensors.TensorData;

/**
 * A loaded adapter directory.
 *
 * @param directory where it was read from
 * @param config    {@code adapter_config.json}; has a text under {@code peft_type}; immutable
 * @param tensors   {@code adapter_model.safetensors} in the order of the file; immutable
 * @param inside    adapters of which this one is made, in its order; immutable
 */
public record AdapterFile(
        Path directory,
        Map<String, @Nullable Object> config,
        Map<String, TensorData> tensors,
        List<AdapterFile> inside) {
    /** Of an adapter that stands by itself. */
    public AdapterFile(Path directory, Map<String, @Nullable Object> config, Map<String, TensorData> tensors) {
        this(directory, config, tensors, List.of());
    }
}
