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
        return named("layer " + layer + " forward", block);
    }

    /** Runs a block's part of backward. */
    static void backward(int layer, Runnable block) {
        named("layer " + layer + " backward", () -> {
            block.run();
            return layer;
        });
    }

    /** Runs the backward of all that is not recomputed. */
    static void backward(Runnable all) {
        named("backward", () -> {
            all.run();
            return all;
        });
    }

    private static <T> T named(String what, Supplier<T> block) {
        try {
            return Ops.checked(block);
        } catch (DeviceException e) {
            throw new DeviceException(what + ": " + e.getMessage(), e);
        }
    }
}
