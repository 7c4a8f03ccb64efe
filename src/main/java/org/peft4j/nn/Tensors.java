package org.peft4j.nn;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.ops.Device;

/**
 * Java arrays as tensors and back. What is made here belongs to the scope of the caller. Nothing waits for a card on the way to it:
 * the values are taken at once, and come behind what it still computes.
 */
public final class Tensors {
    private Tensors() {}

    /** The first n values, int64 [n], on the CPU. */
    public static Tensor ofLongs(long[] values, int n) {
        return ofLongs(Device.CPU, values, n);
    }

    /** The first n values, int64 [n]. */
    public static Tensor ofLongs(Device device, long[] values, int n) {
        return Scopes.scoped(() -> device.copy(
                torch.from_blob(new LongPointer(values), new long[] {n}, Device.CPU.options(ScalarType.Long))));
    }

    /** All values, int64 [n]. */
    public static Tensor ofInts(Device device, int[] values) {
        long[] longs = new long[values.length];
        for (int i = 0; i < longs.length; i++) {
            longs[i] = values[i];
        }
        return ofLongs(device, longs, longs.length);
    }

    /** float32 with this shape, on the CPU. */
    public static Tensor ofFloats(float[] values, long... shape) {
        return ofFloats(Device.CPU, values, shape);
    }

    /** float32 with this shape. */
    public static Tensor ofFloats(Device device, float[] values, long... shape) {
        return Scopes.scoped(() ->
                device.copy(torch.from_blob(new FloatPointer(values), shape, Device.CPU.options(ScalarType.Float))));
    }

    /** The values of a tensor of whole numbers, row-major. */
    public static long[] toLongs(Tensor t) {
        try (PointerScope scope = new PointerScope()) {
            Tensor plain = Device.CPU.move(t.detach(), ScalarType.Long).contiguous();
            long[] values = new long[Math.toIntExact(plain.numel())];
            new LongPointer(plain.data_ptr_long()).get(values);
            return values;
        }
    }

    /** The values of a floating-point tensor, row-major. */
    public static float[] toFloats(Tensor t) {
        try (PointerScope scope = new PointerScope()) {
            Tensor plain = Device.CPU.move(t.detach(), ScalarType.Float).contiguous();
            float[] values = new float[Math.toIntExact(plain.numel())];
            if (values.length > 0) {
                new FloatPointer(plain.data_ptr()).get(values);
            }
            return values;
        }
    }

    /** The tensor on the CPU, of this type: itself if it is. */
    public static Tensor onCpu(Tensor t, ScalarType type) {
        return Device.CPU.move(t, type);
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

    /** A zero tensor, float32, on the CPU. */
    public static Tensor zeros(long... shape) {
        return zeros(Device.CPU, shape);
    }

    /** A zero tensor, float32. */
    public static Tensor zeros(Device device, long... shape) {
        return Scopes.scoped(() -> torch.zeros(shape, device.options(ScalarType.Float)));
    }

    public static long[] shape(Tensor t) {
        long[] shape = new long[(int) t.dim()];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = t.size(i);
        }
        return shape;
    }
}
