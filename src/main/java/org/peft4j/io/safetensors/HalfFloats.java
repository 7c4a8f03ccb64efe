package org.peft4j.io.safetensors;

/** The two 16-bit floating-point formats as floats; exact, since float holds both (Java has this from version 20). */
final class HalfFloats {
    private HalfFloats() {}

    /** IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits. */
    static float fromF16(short bits) {
        int sign = (bits & 0x8000) << 16;
        int exponent = (bits >> 10) & 0x1f;
        int mantissa = bits & 0x3ff;
        if (exponent == 0) { // zero or subnormal: mantissa times 2^-24
            float magnitude = mantissa * 0x1p-24f;
            return sign == 0 ? magnitude : -magnitude;
        }
        int wide = exponent == 0x1f ? 0xff : exponent - 15 + 127;
        return Float.intBitsToFloat(sign | (wide << 23) | (mantissa << 13));
    }

    /** bfloat16: the upper half of a float. */
    static float fromBF16(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }
}
