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
