package org.peft4j.nn;

import java.util.function.Supplier;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;

/**
 * Lifetimes of native handles. A handle belongs to the innermost scope of its thread; a block or layer runs in a scope of
 * its own and lets out what it returns, so that Java does not keep alive what autograd would free.
 */
public final class Scopes {
    private Scopes() {}

    /** Runs f in a scope of its own; what it returns belongs to the scope around, everything else is released. */
    public static Tensor scoped(Supplier<Tensor> f) {
        Tensor survivor;
        try (PointerScope scope = new PointerScope()) {
            survivor = f.get();
            survivor.retainReference();
        }
        hand(survivor);
        return survivor;
    }

    /** As {@link #scoped}, for several survivors. */
    public static Tensor[] scopedAll(Supplier<Tensor[]> f) {
        Tensor[] survivors;
        try (PointerScope scope = new PointerScope()) {
            survivors = f.get();
            for (Tensor survivor : survivors) {
                survivor.retainReference();
            }
        }
        for (Tensor survivor : survivors) {
            hand(survivor);
        }
        return survivors;
    }

    /** Takes a handle out of every scope: its owner closes it. */
    public static <P extends Pointer> P owned(Supplier<P> f) {
        try (PointerScope scope = new PointerScope()) {
            P pointer = f.get();
            pointer.retainReference();
            return pointer;
        }
    }

    // The reference that outlived the inner scope goes to the outer one, or to the garbage collector if there is none.
    private static void hand(Tensor survivor) {
        PointerScope outer = PointerScope.getInnerScope();
        if (outer != null) {
            outer.attach(survivor);
            survivor.releaseReference();
        }
    }
}
