package org.peft4j.io;

import java.util.Arrays;

/** The element types this project reads and writes, with the names the safetensors format gives them. */
public enum DType {
    F64(8),
    F32(4),
    F16(2),
    BF16(2),
    I64(8),
    I32(4),
    I16(2),
    I8(1),
    U8(1),
    BOOL(1);

    private final int size;

    DType(int size) {
        this.size = size;
    }

    /** Bytes of one element. */
    public int size() {
        return size;
    }

    /** The name in a safetensors header, such as {@code BF16}. */
    public String safetensorsName() {
        return name();
    }

    /**
     * The type with this name in a safetensors header.
     *
     * @throws IllegalArgumentException if it is none of ours (such as {@code F8_E4M3}); the message lists ours
     */
    public static DType parse(String name) {
        for (DType type : values()) {
            if (type.name().equals(name)) {
                return type;
            }
        }
        throw new IllegalArgumentException(
                "dtype must be one of " + Arrays.toString(values()) + ", got '" + name + "'");
    }
}
