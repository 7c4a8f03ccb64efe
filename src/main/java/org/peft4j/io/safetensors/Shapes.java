package org.peft4j.io.safetensors;

import java.util.List;

/** Arithmetic on shapes that come from files: nothing wraps around. */
public final class Shapes {
    /** More dimensions than any library has; bounds what a header can make us allocate. */
    static final int MAX_RANK = 64;

    private Shapes() {}

    /**
     * Number of elements; 1 for a scalar.
     *
     * @throws ArithmeticException if it exceeds a long
     */
    static long elements(List<Long> shape) {
        long elements = 1;
        for (long dimension : shape) {
            elements = Math.multiplyExact(elements, dimension);
        }
        return elements;
    }

    /** Number of bytes, with {@link ArithmeticException} as above; the last one may be filled in part. */
    public static long bytes(ElementType dtype, List<Long> shape) {
        long elements = elements(shape);
        if (dtype.bits() % Byte.SIZE == 0) {
            return Math.multiplyExact(elements, dtype.size());
        }
        return Math.addExact(Math.multiplyExact(elements, dtype.bits()), Byte.SIZE - 1) / Byte.SIZE;
    }

    /** For callers' shapes: as {@link #bytes}, but a mistake is the caller's and names the tensor. */
    static long checkedBytes(String name, ElementType dtype, List<Long> shape) {
        if (shape.size() > MAX_RANK || shape.stream().anyMatch(d -> d < 0)) {
            throw new IllegalArgumentException("tensor '" + name + "': a shape has at most " + MAX_RANK
                    + " dimensions, none negative, got " + shape);
        }
        try {
            return bytes(dtype, shape);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException(
                    "tensor '" + name + "': " + dtype + " " + shape + " has more bytes than a long can count", e);
        }
    }
}
