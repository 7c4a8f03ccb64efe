package org.peft4j.method.spi.lokr;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;

/** {@code ΔW = scale (W₁ ⊗ W₂)}, applied without making it: of a row x seen as X [columns of W₁, columns of W₂] it gives W₁ X W₂ᵀ. */
record KroneckerProduct(KroneckerShape shape, Factor w1, Factor w2, double scale) implements WeightDelta {
    private static final long FEW = 1024;

    /** A matrix, or a product of two. */
    record Factor(Parameter left, @Nullable Parameter right) {
        Tensor matrix() {
            return right == null ? left.value() : left.value().matmul(right.value());
        }

        /** {@code x Fᵀ} for the last dimension of x. */
        Tensor product(Tensor x) {
            Tensor read = right == null ? x : x.matmul(in(x, right).t());
            return read.matmul(in(x, left).t());
        }

        private static Tensor in(Tensor x, Parameter parameter) {
            return parameter.value().to(x.scalar_type());
        }
    }

    @Override
    public Tensor matrix() {
        return torch.kron(w1.matrix(), w2.matrix()).mul(new Scalar(scale));
    }

    /** Two small products with rows cost more than they multiply: rows lie otherwise in between, forward and backward. */
    @Override
    public boolean prefersMatrix(long in, long out) {
        return Math.min(in, out) <= FEW;
    }

    @Override
    public Tensor product(Tensor x) {
        long rows = x.size(0);
        Tensor seen = x.reshape(rows, shape.first().columns(), shape.second().columns());
        Tensor second = w2.product(seen); // [T, columns of W₁, rows of W₂]
        Tensor both = w1.product(second.transpose(1, 2)); // [T, rows of W₂, rows of W₁]
        return both.transpose(1, 2)
                .reshape(rows, shape.first().rows() * shape.second().rows())
                .mul(new Scalar(scale))
                .to(x.scalar_type());
    }
}
