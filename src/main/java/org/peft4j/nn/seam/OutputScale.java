package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** y, with its bias, is multiplied with a vector. */
@FunctionalInterface
public interface OutputScale extends OutputUpdate {
    /** Elements [out], float32. */
    Tensor factors();

    @Override
    default Tensor of(Tensor y) {
        return y.mul(factors().to(y.scalar_type()));
    }
}
