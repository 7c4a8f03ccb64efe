package org.peft4j.generate;

import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** Keys and values of a model's blocks, each [blocks, block size, heads, D]; grows as more blocks are wanted. */
final class Pools implements AutoCloseable {
    private final ModelInfo.Stack stack;
    private final ScalarType type;
    private final Device device;
    private final @Nullable Tensor[] keys;
    private final @Nullable Tensor[] values;
    private long capacity;

    Pools(ModelInfo.Stack stack, ScalarType type, Device device) {
        this.stack = stack;
        this.type = type;
        this.device = device;
        keys = new Tensor[stack.layers()];
        values = new Tensor[stack.layers()];
    }

    /** Bytes of a block of so many rows, all layers together. */
    static double bytesOfBlock(ModelInfo.Stack stack, int rows, long elementSize) {
        return 2.0 * stack.layers() * stack.keyValueHeads() * stack.headSize() * elementSize * rows;
    }

    Tensor keys(int layer) {
        return made(keys[layer]);
    }

    Tensor values(int layer) {
        return made(values[layer]);
    }

    private static Tensor made(@Nullable Tensor pool) {
        if (pool == null) {
            throw new IllegalStateException("a cache is used between begin and end of a call");
        }
        return pool;
    }

    /** As rows: [blocks * block size, heads, D]. */
    static Tensor rows(Tensor pool) {
        return pool.view(-1, pool.size(2), pool.size(3));
    }

    /** Makes room; what was there stays. One layer's tensor is there twice meanwhile. */
    void grow(int wanted, long most) {
        if (wanted > capacity) {
            long next = Math.min(most, Math.max(wanted, 2 * capacity));
            for (int layer = 0; layer < keys.length; layer++) {
                keys[layer] = grown(keys[layer], next);
                values[layer] = grown(values[layer], next);
            }
            capacity = next;
        }
    }

    private Tensor grown(@Nullable Tensor pool, long blocks) {
        long[] shape = {blocks, Cache.BLOCK, stack.keyValueHeads(), stack.headSize()};
        Tensor made = Scopes.owned(
                () -> Ops.checked(() -> torch.empty(shape, device.options(type), new MemoryFormatOptional())));
        if (pool != null) {
            Scopes.scoped(() -> made.narrow(0, 0, pool.size(0)).copy_(pool));
            pool.close();
        }
        return made;
    }

    /** Copies whole blocks; all are read before one is written. */
    void copy(int[] from, int[] to) {
        for (int layer = 0; layer < keys.length; layer++) {
            for (Tensor pool : new Tensor[] {keys(layer), values(layer)}) {
                Scopes.scoped(() -> pool.index_copy_(
                        0, Tensors.ofInts(device, to), pool.index_select(0, Tensors.ofInts(device, from))));
            }
        }
    }

    @Override
    public void close() {
        for (int layer = 0; layer < keys.length; layer++) {
            close(keys[layer]);
            close(values[layer]);
        }
    }

    private static void close(@Nullable Tensor pool) {
        if (pool != null) {
            pool.close();
        }
    }
}
