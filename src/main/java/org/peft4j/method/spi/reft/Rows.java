package org.peft4j.method.spi.reft;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Parameter;

/** The rows of R. */
interface Rows {
    /** R [r, width], float32; autograd follows. */
    Tensor matrix();

    /** Trained as they are. */
    record Free(Parameter weight) implements Rows {
        @Override
        public Tensor matrix() {
            return weight.value();
        }
    }
}
