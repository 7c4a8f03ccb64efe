package org.peft4j.io.safetensors;

import java.util.List;

/**
 * Where a tensor lies in a safetensors file.
 *
 * @param name   the tensor's name
 * @param dtype  type of its elements
 * @param shape  its dimensions, outermost first; empty for a scalar
 * @param offset first byte, counted from the beginning of the file
 * @param length number of bytes; equal to elements times size of the type
 */
public record TensorInfo(String name, ElementType dtype, List<Long> shape, long offset, long length) {
    public TensorInfo {
        shape = List.copyOf(shape);
        long expected = Shapes.checkedBytes(name, dtype, shape);
        if (offset < 0 || length != expected) {
            throw new IllegalArgumentException("tensor '" + name + "': " + dtype + " " + shape + " needs " + expected
                    + " bytes at an offset that is not negative, got " + length + " at " + offset);
        }
    }

    /** Number of elements; 1 for a scalar. */
    public long elements() {
        return Shapes.elements(shape);
    }
}
