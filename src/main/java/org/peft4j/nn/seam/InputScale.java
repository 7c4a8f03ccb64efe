package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** Claim of a {@link LinearPoint}: x is multiplied with this vector before the product. Several multiply. */
public non-sealed interface InputScale extends LinearClaim {
    /** Elements [in], float32. */
    Tensor factors();
}
