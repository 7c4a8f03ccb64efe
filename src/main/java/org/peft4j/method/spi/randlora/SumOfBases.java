package org.peft4j.method.spi.randlora;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.ops.Ops;

/**
 * {@code ΔW = scale L R} with [.., r N] and [r N, ..], where the trained factors are on the smaller side. What meets what is PEFT's:
 * row {@code j N + n} of A with its factors, but column {@code n r + j} of B.
 *
 * @param a A [r, 1, d] for this layer, d the smaller one of its sides
 * @param b B [e, N, r] for this layer
 * @param lambda [r, N]
 * @param gamma [N, d]
 * @param tall whether the layer has fewer inputs than outputs, or as many
 */
record SumOfBases(
        Tensor a, Tensor b, Parameter lambda, Parameter gamma, boolean tall, double scale, double dropout)
        implements WeightDelta {
    /** [r N, in]. */
    private Tensor right() {
        return tall ? factored() : b.flatten(1, 2).t();
    }

    /** [out, r N]. */
    private Tensor left() {
        return tall ? b.flatten(1, 2) : factored().t();
    }

    private Tensor factored() {
        return lambda.value().unsqueeze(2).mul(a).mul(gamma.value().unsqueeze(0)).flatten(0, 1);
    }

    @Override
    public Tensor matrix() {
        return left().matmul(right()).mul(new Scalar(scale));
    }

    /** Few rows are cheaper through both factors, many through ΔW. */
    @Override
    public Tensor product(Tensor x) {
        long sides = b.size(0) + a.size(2);
        if (x.size(0) * sides >= b.size(0) * a.size(2)) {
            return Ops.linear(x, matrix().to(x.scalar_type()), null);
        }
        Tensor inner = Ops.linear(x, right().to(x.scalar_type()), null);
        return Ops.linear(inner, left().to(x.scalar_type()), null).mul(new Scalar(scale));
    }
}
