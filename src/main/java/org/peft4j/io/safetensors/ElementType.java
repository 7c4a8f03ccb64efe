package org.peft4j.io.safetensors;

import java.util.Arrays;
import java.util.List;

/**
 * The element types of the safetensors format, with its names. Files may hold any of them; those before {@link #U64} are
 * computed with or written here.
 */
public enum ElementType {
    F64(64),
    F32(32),
    F16(16),
    BF16(16),
    I64(64),
    I32(32),
    I16(16),
    I8(8),
    U8(8),
    BOOL(8),
    U64(64),
    U32(32),
    U16(16),
    C64(64),
    F8_E4M3(8),
    F8_E5M2(8),
    F8_E8M0(8),
    F8_E4M3FNUZ(8),
    F8_E5M2FNUZ(8),
    F6_E2M3(6),
    F6_E3M2(6),
    F4(4);

    private final int bits;

    ElementType(int bits) {
        this.bits = bits;
    }

    /** Bits of one element. */
    public int bits() {
        return bits;
    }

    /**
     * Bytes of one element.
     *
     * @throws IllegalStateException if several elements share a byte
     */
    public int size() {
        if (bits % Byte.SIZE != 0) {
            throw new IllegalStateException("an element of " + this + " has " + bits + " bits, no whole bytes");
        }
        return bits / Byte.SIZE;
    }

    /** Whether the elements are floating-point numbers that we compute with. */
    public boolean isFloat() {
        return ordinal() <= BF16.ordinal();
    }

    /** The types that we compute with or write. */
    public static List<ElementType> used() {
        return Arrays.asList(values()).subList(0, U64.ordinal());
    }

    /** The name in a safetensors header, such as {@code BF16}. */
    public String safetensorsName() {
        return name();
    }

    /** PyTorch's name, as in {@code dtype} of config.json, of one that {@link #isFloat}. */
    public String torchName() {
        return switch (this) {
            case F64 -> "float64";
            case F32 -> "float32";
            case F16 -> "float16";
            case BF16 -> "bfloat16";
            default -> throw new IllegalStateException(this + " is no floating-point type that we compute with");
        };
    }

    /**
     * The type with this name in a safetensors header.
     *
     * @throws IllegalArgumentException if the format has none of this name; the message lists those it has
     */
    public static ElementType parse(String name) {
        for (ElementType type : values()) {
            if (type.name().equals(name)) {
                return type;
            }
        }
        throw new IllegalArgumentException(
                "dtype must be one of " + Arrays.toString(values()) + ", got '" + name + "'");
    }
}
