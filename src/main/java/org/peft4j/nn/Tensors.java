package org.peft4j.nn;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Java arrays as tensors and back. What is made here belongs to the scope of the caller. */
public final class Tensors {
    private Tensors() {}

    /** The first n values, int64 [n]. */
    public static Tensor ofLongs(long[] values, int n) {
        return Scopes.scoped(() -> {
            LongPointer data = new LongPointer(values);
            return torch.from_blob(data, new long[] {n}, options(ScalarType.Long))
                    .clone();
        });
    }

    /** All values, int64 [n]. */
    public static Tensor ofInts(int[] values) {
        long[] longs = new long[values.length];
        for (int i = 0; i < longs.length; i++) {
            longs[i] = values[i];
        }
        return ofLongs(longs, longs.length);
    }

    /** float32 with this shape. */
    public static Tensor ofFloats(float[] values, long... shape) {
        return Scopes.scoped(() -> torch.from_blob(new FloatPointer(values), shape, options(ScalarType.Float))
                .clone());
    }

    /** The values of a floating-point tensor, row-major. */
    public static float[] toFloats(Tensor t) {
        try (PointerScope scope = new PointerScope()) {
            Tensor plain = t.detach().to(ScalarType.Float).contiguous();
            float[] values = new float[Math.toIntExact(plain.numel())];
            if (values.length > 0) {
                new FloatPointer(plain.data_ptr()).get(values);
            }
            return values;
        }
    }

    /** The bytes of a float32 tensor, little endian, row-major. */
    public static ByteBuffer toBytes(Tensor t) {
        float[] values = toFloats(t);
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(values.length, Float.BYTES))
                .order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return bytes;
    }

    /** The raw bytes of a contiguous tensor on the CPU; valid as long as the tensor. */
    public static ByteBuffer view(Tensor t) {
        return new BytePointer(t.data_ptr())
                .capacity(t.numel() * t.element_size())
                .asByteBuffer()
                .order(ByteOrder.LITTLE_ENDIAN);
    }

    public static TensorOptions options(ScalarType type) {
        return new TensorOptions(type);
    }

    /** A zero tensor, float32. */
    public static Tensor zeros(long... shape) {
        return Scopes.scoped(() -> torch.zeros(shape, options(ScalarType.Float)));
    }

    public static long[] shape(Tensor t) {
        long[] shape = new long[(int) t.dim()];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = t.size(i);
        }
        return shape;
    }
}
