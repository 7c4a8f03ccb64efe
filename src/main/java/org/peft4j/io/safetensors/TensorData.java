package org.peft4j.io.safetensors;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.util.List;
import org.peft4j.io.Bytes;

/**
 * A tensor with its bytes in memory; at most 2 GiB. Immutable as long as nobody changes the buffer or array it was made
 * from, and safe to use from several threads: {@link #bytes()} gives each caller its own position.
 *
 * @param name  name in the file
 * @param dtype type of the elements
 * @param shape dimensions, outermost first; empty for a scalar
 * @param bytes the elements, row-major, little endian; read-only
 */
public record TensorData(String name, ElementType dtype, List<Long> shape, ByteBuffer bytes) implements TensorSource {
    public TensorData {
        shape = List.copyOf(shape);
        bytes = bytes.slice().asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
        long expected = Shapes.checkedBytes(name, dtype, shape);
        if (bytes.remaining() != expected) {
            throw new IllegalArgumentException("tensor '" + name + "': " + dtype + " " + shape + " needs " + expected
                    + " bytes, got " + bytes.remaining());
        }
    }

    /** A float32 tensor with a copy of these values. */
    public static TensorData ofFloats(String name, List<Long> shape, float[] values) {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(values.length, Float.BYTES))
                .order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return new TensorData(name, ElementType.F32, shape, bytes);
    }

    @Override
    public ByteBuffer bytes() {
        return bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN); // duplicate() forgets the order
    }

    /**
     * The values as floats: exact for F32, F16 and BF16, rounded for F64.
     *
     * @throws IllegalStateException if the elements are no floating-point numbers
     */
    public float[] toFloats() {
        ByteBuffer in = bytes();
        if (!dtype.isFloat()) {
            throw new IllegalStateException(
                    "tensor '" + name + "' must be one of [F64, F32, F16, BF16] to be read as floats, is " + dtype);
        }
        float[] values = new float[in.remaining() / dtype.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = switch (dtype) {
                case F64 -> (float) in.getDouble();
                case F32 -> in.getFloat();
                case F16 -> HalfFloats.fromF16(in.getShort());
                case BF16 -> HalfFloats.fromBF16(in.getShort());
                default -> throw new AssertionError(dtype);
            };
        }
        return values;
    }

    @Override
    public void writeTo(WritableByteChannel out) throws IOException {
        Bytes.writeFully(out, bytes);
    }

    @Override
    public String toString() {
        return name + " " + dtype + " " + shape;
    }
}
