package org.peft4j.model;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.DeviceException;
import org.peft4j.ops.Ops;

/** Says in which block a device failed. */
final class Layers {
    private Layers() {}

    /** Runs a block's forward. */
    static Tensor forward(int layer, Supplier<Tensor> block) {
        return named(layer, "forward", block);
    }

    /** Runs a block's part of backward. */
    static void backward(int layer, Runnable block) {
        named(layer, "backward", () -> {
            block.run();
            return layer;
        });
    }

    private static <T> T named(int layer, String direction, Supplier<T> block) {
        try {
            return Ops.checked(block);
        } catch (DeviceException e) {
            throw new DeviceException("layer " + layer + " " + direction + ": " + e.getMessage(), e);
        }
    }
}
