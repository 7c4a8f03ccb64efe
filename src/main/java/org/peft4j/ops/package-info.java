/**
 * Operations on tensors: the only place that binds native code. Shapes, types and gradients are those of
 * {@code native/peft4j.h}. Tensors are {@link org.bytedeco.pytorch.Tensor}; {@code T} is the number of packed tokens.
 *
 * <p>Native handles live in the innermost {@link org.bytedeco.javacpp.PointerScope} of their thread. Errors of the caller
 * come as {@link IllegalArgumentException}, failures of the device as {@link org.peft4j.error.DeviceException}.
 */
@NullMarked
package org.peft4j.ops;

import org.jspecify.annotations.NullMarked;
