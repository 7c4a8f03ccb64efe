package org.peft4j.ops;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;

/**
 * The frozen matrix of a linear layer, or of several that read the same x, in whatever layout products want on this
 * device. Opaque: who needs plain values asks {@link #dense()}. Immutable to callers, safe from many threads.
 *
 * <p>Not bound to a scope: lives until {@link #close()}, or until it becomes unreachable.
 */
public final class Weight implements AutoCloseable {
    private final PeftNative.Weight handle;

    private Weight(PeftNative.Weight handle) {
        this.handle = handle;
    }

    /** @param parts matrices [out_i, in] of one type, in the order of {@link Ops#loraLinear}'s results; kept, not copied */
    public static Weight of(List<Tensor> parts) {
        return Ops.checked(() -> {
            try (PointerScope scope = new PointerScope()) {
                TensorVector vector = new TensorVector();
                parts.forEach(vector::push_back);
                PeftNative.Weight handle = new PeftNative.Weight(vector);
                handle.retainReference(); // outlives this scope
                return new Weight(handle);
            }
        });
    }

    /** The values, [sum of out_i, in]. */
    public Tensor dense() {
        return Ops.checked(handle::dense);
    }

    public long out() {
        return handle.out();
    }

    public long in() {
        return handle.in();
    }

    /** {@code dense} before the first product, then {@code packed}. */
    public String layout() {
        return handle.layout();
    }

    PeftNative.Weight handle() {
        return handle;
    }

    @Override
    public void close() {
        handle.close();
    }
}
