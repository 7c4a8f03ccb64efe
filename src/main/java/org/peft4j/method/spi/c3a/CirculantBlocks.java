package org.peft4j.method.spi.c3a;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.ops.Ops;

/**
 * Row k and column j of a block have the kernel's element {@code (j - k) mod b}, over the number of inputs.
 *
 * @param kernel [out / b, in / b, b]
 * @param turns those numbers for all of a block, row by row, int64 [b · b]
 */
record CirculantBlocks(Parameter kernel, Tensor turns) implements WeightDelta {
    /** In float32: float16 does not hold a kernel's elements over the number of inputs. */
    @Override
    public Tensor product(Tensor x) {
        return Ops.linear(x.to(ScalarType.Float), matrix(), null).to(x.scalar_type());
    }

    @Override
    public Tensor matrix() {
        Tensor w = kernel.value();
        long rows = w.size(0);
        long columns = w.size(1);
        long b = w.size(2);
        return w.index_select(2, turns)
                .view(rows, columns, b, b)
                .permute(0, 2, 1, 3)
                .reshape(rows * b, columns * b)
                .div(new Scalar((double) (columns * b)));
    }
}
