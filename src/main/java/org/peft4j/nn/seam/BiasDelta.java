package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** Claim of a {@link LinearPoint}: a vector is added to the bias, or stands in its place where there is none. */
@FunctionalInterface
public non-sealed interface BiasDelta extends LinearClaim {
    /** Elements [out], float32. */
    Tensor vector();
}
