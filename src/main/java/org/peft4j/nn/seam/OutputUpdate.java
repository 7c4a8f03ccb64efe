package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link LinearPoint}: a linear function of y, its bias included, takes y's place. Several act one behind the other.
 */
public non-sealed interface OutputUpdate extends LinearClaim {
    /**
     * A linear function of each row.
     *
     * @param y [T, out]
     * @return [T, out] of y's type
     */
    Tensor of(Tensor y);
}
