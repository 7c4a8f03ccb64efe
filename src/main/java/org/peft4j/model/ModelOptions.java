package org.peft4j.model;

import java.util.List;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/**
 * How a model is loaded.
 *
 * @param device where it computes
 * @param storage type of the frozen matrices and embedding tables
 * @param dropout train with the dropout of the model's config, as transformers does; false: none
 * @param seed of what the directory does not have (a new head)
 * @param layers for each layer of the model the number of the one in the directory whose weights it has; empty: as they are there.
 *     Layers of one number share their weights
 */
public record ModelOptions(Device device, ScalarType storage, boolean dropout, long seed, List<Integer> layers) {
    public ModelOptions {
        layers = List.copyOf(layers);
    }

    /** With the layers as they are. */
    public ModelOptions(Device device, ScalarType storage, boolean dropout, long seed) {
        this(device, storage, dropout, seed, List.of());
    }

    /** On the CPU, in bfloat16 or float32. */
    public ModelOptions(boolean bfloat16, boolean dropout, long seed) {
        this(Device.CPU, bfloat16 ? ScalarType.BFloat16 : ScalarType.Float, dropout, seed);
    }

    /** The same with other layers. */
    public ModelOptions withLayers(List<Integer> value) {
        return new ModelOptions(device, storage, dropout, seed, value);
    }

    public static ModelOptions defaults() {
        return new ModelOptions(false, true, 0);
    }

    /** Bytes of a frozen matrix's number. */
    public int elementSize() {
        return storage == ScalarType.Float ? Float.BYTES : Short.BYTES;
    }

    /**
     * Type of the activations: the weights', except bfloat16 on a processor that does not multiply it. Its emulation would be
     * many times slower than float32, so the weights are widened for each product.
     */
    public ScalarType compute() {
        boolean widened = device.isCpu() && storage == ScalarType.BFloat16 && !Ops.hasNativeBfloat16();
        return widened ? ScalarType.Float : storage;
    }
}
