package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** Claim of a {@link LinearPoint}: y, with its bias, is multiplied with this vector. Several multiply. */
public non-sealed interface OutputScale extends LinearClaim {
    /** Elements [out], float32. */
    Tensor factors();
}
