package org.peft4j.model;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.DeviceException;
import org.peft4j.nn.Block;
import org.peft4j.nn.BlockClaims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Ops;

/** Runs blocks, and says in which one a device failed. */
final class Layers {
    private Layers() {}

    /**
     * Runs a block's forward, and what adapters claim behind it.
     *
     * @param rows which are read behind it
     * @return the read rows
     */
    static Tensor forward(int layer, Block block, Tensor h, ReadRows rows, ForwardContext context) {
        return named("layer " + layer + " forward", () -> read(block, h, rows, context));
    }

    /** The same for a backward that names the layer itself. */
    static Tensor read(Block block, Tensor h, ReadRows rows, ForwardContext context) {
        return BlockClaims.forward(block, h, rows, context);
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
