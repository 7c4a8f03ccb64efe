package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link LinearPoint}: the product is multiplied with a vector before the bias is added, at most once for the same
 * rows.
 */
public non-sealed interface Magnitude extends LinearClaim {
    /** Elements [out], float32. */
    Tensor factors();

    /**
     * Whether dropout of the low-rank update beside it is that of DoRA: what is multiplied reads the dropped x, and the frozen
     * product of what was dropped is added as it is.
     */
    default boolean dropsInput() {
        return false;
    }
}
