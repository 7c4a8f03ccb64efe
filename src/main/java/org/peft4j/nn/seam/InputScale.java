package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** x is multiplied with a vector before the product. */
@FunctionalInterface
public interface InputScale extends InputUpdate {
    /** Elements [in], float32. */
    Tensor factors();

    @Override
    default Tensor of(Tensor x) {
        return x.mul(factors().to(x.scalar_type()));
    }

    @Override
    default Tensor merged(Tensor w) {
        return of(w);
    }
}
