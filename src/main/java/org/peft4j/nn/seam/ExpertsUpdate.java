package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of an {@link ExpertsPoint}: expert e gets {@code y += scale (x A_eᵀ) B_eᵀ}. The tensors are asked for in each forward;
 * autograd follows.
 */
public interface ExpertsUpdate {
    /** A of all experts, [E, r, in], float32. */
    Tensor a();

    /** B of all experts, [E, out, r], float32. */
    Tensor b();

    double scale();
}
