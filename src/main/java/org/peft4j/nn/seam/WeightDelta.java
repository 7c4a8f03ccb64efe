package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.ops.Ops;

/**
 * Claim of a {@link LinearPoint}: {@code y += ΔW dropout(x)}, where ΔW is made by another formula than {@link LowRank}'s. Whoever can
 * apply ΔW without making it overrides {@link #product}.
 */
@FunctionalInterface
public non-sealed interface WeightDelta extends LinearClaim {
    /** ΔW [out, in], float32; asked for in each forward, autograd follows. */
    Tensor matrix();

    /** {@code w + ΔW}; w [out, in] float32. */
    default Tensor addedTo(Tensor w) {
        return w.add(matrix());
    }

    /**
     * Whether many rows at once, whose gradients are wanted, had better be multiplied with {@code W + ΔW} than with W and by
     * {@link #product}. Where {@code product} makes ΔW it is one product with a matrix in place of two, and two in backward in place of
     * three.
     */
    default boolean prefersMatrix(long in, long out) {
        return true;
    }

    /** Probability of dropping an element of x on its way into ΔW while training. */
    default double dropout() {
        return 0;
    }

    /**
     * {@code x ΔWᵀ}.
     *
     * @param x [T, in]
     * @return [T, out] of x's type
     */
    default Tensor product(Tensor x) {
        return Ops.linear(x, matrix().to(x.scalar_type()), null);
    }
}
