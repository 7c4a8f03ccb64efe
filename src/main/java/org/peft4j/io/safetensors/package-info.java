/** Tensors in files: the safetensors format, names and types of tensors. */
@NullMarked
package org.peft4j.io.safetensors;

import org.jspecify.annotations.NullMarked;
