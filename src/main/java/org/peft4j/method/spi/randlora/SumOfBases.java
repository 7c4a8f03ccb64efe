package org.peft4j.method.spi.randlora;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.ops.Ops;

/**
 * {@code ΔW = scale L R} with [.., r N] and [r N, ..], where the trained factors are on the smaller side. What meets what is PEFT's:
 * row {@code j N + n} of A with its factors, but column {@code n r + j} of B.
 *
 * @param bases A and B of all layers, of which this one takes as much as its sides have
 * @param lambda [r, N]
 * @param gamma [N, d], d the smaller one of the sides
 */
record SumOfBases(RandomBases bases, Sides sides, Parameter lambda, Parameter gamma, double scale, double dropout)
        implements WeightDelta {
    /** Inputs and outputs of the layer. */
    record Sides(long in, long out) {
        long small() {
            return Math.min(in, out);
        }

        long large() {
            return Math.max(in, out);
        }
    }

    /** [r N, in]. */
    private Tensor right() {
        return sides.in() <= sides.out() ? factored() : columns().t();
    }

    /** [out, r N]. */
    private Tensor left() {
        return sides.in() <= sides.out() ? columns() : factored().t();
    }

    /** A's rows with their factors, [r N, d]. */
    private Tensor factored() {
        Tensor a = bases.a().narrow(2, 0, sides.small());
        return lambda.value()
                .unsqueeze(2)
                .mul(a)
                .mul(gamma.value().unsqueeze(0))
                .flatten(0, 1);
    }

    /** B's columns, [e, r N] for the larger side e. */
    private Tensor columns() {
        return bases.b()
                .narrow(0, 0, sides.large())
                .narrow(1, 0, lambda.value().size(1))
                .flatten(1, 2);
    }

    @Override
    public Tensor matrix() {
        return left().matmul(right()).mul(new Scalar(scale));
    }

    /**
     * Few rows are cheaper through both factors, many through ΔW. In float32: float16 does not hold the factors, which are about
     * one over the smaller side.
     */
    @Override
    public Tensor product(Tensor x) {
        Tensor exact = x.to(ScalarType.Float);
        boolean many = x.size(0) * (sides.in() + sides.out()) >= sides.in() * sides.out();
        Tensor y = many
                ? Ops.linear(exact, matrix(), null)
                : Ops.linear(Ops.linear(exact, right(), null), left(), null).mul(new Scalar(scale));
        return y.to(x.scalar_type());
    }
}
