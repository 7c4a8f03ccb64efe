package org.peft4j.nn.seam;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Device;

/**
 * A trained tensor: a float32 leaf of autograd, known by its path everywhere (optimiser, checkpoints, files). The path is
 * that of Hugging Face PEFT without its prefix and adapter name, such as
 * {@code bert.encoder.layer.0.attention.self.query.lora_A.weight}. Owns its native handle; {@link Adapter#close} frees it.
 */
public final class Parameter implements AutoCloseable {
    private final String path;
    private final String group;
    private Tensor value;

    private Parameter(String path, String group, Tensor value) {
        this.path = path;
        this.group = group;
        this.value = value;
    }

    /** @param group name of the parameter group, such as {@code lora_A} or {@code head}
     *  @param initial makes the first value, float32 */
    public static Parameter of(String path, String group, Supplier<Tensor> initial) {
        return new Parameter(
                path,
                group,
                Scopes.owned(() -> initial.get().detach().contiguous().clone().requires_grad_(true)));
    }

    public String path() {
        return path;
    }

    public String group() {
        return group;
    }

    /** Takes the values to a device, before anybody has seen them. */
    void moveTo(Device device) {
        if (!Device.of(value).equals(device)) {
            Tensor there = Scopes.owned(() -> device.move(value.detach()).requires_grad_(true));
            value.close();
            value = there;
        }
    }

    /** The float32 values; the same tensor for life, changed in place by the optimiser. */
    public Tensor value() {
        return value;
    }

    /** From now on it stays as it is: no backward gives it a gradient. */
    public void freeze() {
        value.requires_grad_(false);
    }

    public long[] shape() {
        return Tensors.shape(value);
    }

    public long elements() {
        return value.numel();
    }

    /** Overwrites the values. */
    public void set(float[] values) {
        if (values.length != elements()) {
            throw new IllegalArgumentException(path + " has " + elements() + " elements, got " + values.length);
        }
        try (var scope = new org.bytedeco.javacpp.PointerScope()) {
            value.detach().copy_(Tensors.ofFloats(values, shape()));
        }
    }

    @Override
    public void close() {
        value.close();
    }

    @Override
    public String toString() {
        return path + java.util.Arrays.toString(shape());
    }
}
