package org.peft4j.method.spi.shira;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;

/**
 * ΔW has the values at their places, and is 0 elsewhere; autograd takes the values' gradient from there alone.
 *
 * @param values [k]
 * @param places int64 [2, k]: rows, columns
 */
record SparseUpdate(Parameter values, Tensor places, long in, long out) implements WeightDelta {
    @Override
    public Tensor matrix() {
        Tensor flat = places.select(0, 0).mul(new Scalar(in)).add(places.select(0, 1));
        return torch.zeros_like(values.value().detach())
                .new_zeros(in * out)
                .scatter_add(0, flat, values.value())
                .view(out, in);
    }
}
