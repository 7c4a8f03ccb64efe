package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/** Claim of a {@link LinearPoint}: a linear function of x, {@code x F}, is read in place of x. Several act one behind the other. */
public non-sealed interface InputUpdate extends LinearClaim {
    /**
     * {@code x F}.
     *
     * @param x [T, in]
     * @return [T, in] of x's type
     */
    Tensor of(Tensor x);

    /** Whether it only looks at x, and gives it back: it stands in nobody's way then. */
    default boolean watches() {
        return false;
    }

    /**
     * {@code w Fᵀ}: the matrix whose product with x is that of w with {@code x F}.
     *
     * @param w [out, in], float32
     */
    default Tensor merged(Tensor w) {
        return w.matmul(of(identity(w)).t());
    }

    /** Whether many rows at once, whose gradients are wanted, had better be multiplied with {@link #merged} than be changed. */
    default boolean prefersMatrix(long in, long out) {
        return false;
    }

    /**
     * The same as an update of the frozen product, {@code W (x F) = W x + scale B A x}; null if it is of no small rank, or
     * not on the CPU, where w is.
     *
     * @param w W [out, in], of any type
     */
    default @Nullable LowRank update(Tensor w) {
        return null;
    }

    private static Tensor identity(Tensor w) {
        return org.bytedeco.pytorch.global.torch.eye(w.size(1)).to(w.device(), w.scalar_type());
    }
}
