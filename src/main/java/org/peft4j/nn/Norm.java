package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;

/** A norm of the residual stream: {@code z = x + residual} and {@code y = norm(z)}. */
public interface Norm {
    /**
     * @param x [T, C]
     * @param residual [T, C], or null
     * @param rows how the rows belong to the context's sequences
     * @return the normed rows, and z, the next residual
     */
    Ops.Normed forward(Tensor x, @Nullable Tensor residual, Packing rows, ForwardContext context);
}
