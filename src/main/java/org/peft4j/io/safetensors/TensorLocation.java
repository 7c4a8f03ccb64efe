package org.peft4j.io.safetensors;

import java.nio.file.Path;

/**
 * Where one of a model's tensors is: the file to map, and the place in it.
 *
 * @param file a safetensors file; may be a symbolic link
 * @param info name, type, shape and bytes
 */
public record TensorLocation(Path file, TensorInfo info) {}
