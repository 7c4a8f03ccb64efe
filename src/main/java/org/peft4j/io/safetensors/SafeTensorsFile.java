package org.peft4j.io.safetensors;

import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What the header of a safetensors file says, checked. The file itself is not held open.
 *
 * @param path     the file
 * @param metadata the free texts under {@code __metadata__}; empty if there are none
 * @param tensors  the tensors by name, in the order of their bytes in the file
 */
public record SafeTensorsFile(Path path, Map<String, String> metadata, Map<String, TensorInfo> tensors) {
    public SafeTensorsFile {
        metadata = Collections.unmodifiableMap(new LinkedHashMap<>(metadata));
        tensors = Collections.unmodifiableMap(new LinkedHashMap<>(tensors));
    }
}
