package org.peft4j.method.spi;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.ops.Device;

/** Rotations made of skew-symmetric matrices S, and what they do to rows block by block. */
public final class Rotations {
    private static final long FEW_OUTPUTS = 512;

    private Rotations() {}

    /**
     * Cayley's: {@code (I - S) (I + S)⁻¹}.
     *
     * @param skew [n, b, b], float32
     */
    public static Tensor cayley(Tensor skew) {
        Tensor one = identity(skew);
        return torch.linalg_solve(one.add(skew), one.sub(skew), false);
    }

    /**
     * The first terms of {@code (I + S) (I - S)⁻¹} as Hugging Face PEFT has them: {@code I + 2S + 2S² + … + 2Sᵗ⁻² + Sᵗ⁻¹}; three and
     * four terms both end with S³. It turns the other way than {@link #cayley}.
     *
     * @param skew [n, b, b], float32
     * @param terms t, at least 2
     */
    public static Tensor neumann(Tensor skew, int terms) {
        Tensor sum = identity(skew).add(skew.mul(new Scalar(2.0)));
        if (terms == 2) {
            return sum;
        }
        Tensor power = skew.bmm(skew);
        sum = sum.add(power.mul(new Scalar(2.0)));
        for (int k = 3; k < terms - 1; k++) {
            power = power.bmm(skew);
            sum = sum.add(power.mul(new Scalar(2.0)));
        }
        return sum.add(power.bmm(skew));
    }

    /**
     * Whether a matrix of so many outputs is turned in place of the rows that it reads: the gradient of a matrix costs a product, that
     * of turned rows a few ways through memory.
     */
    public static boolean prefersMatrix(long out) {
        return out <= FEW_OUTPUTS;
    }

    private static Tensor identity(Tensor skew) {
        return torch.eye(skew.size(1), Device.of(skew).options(skew.scalar_type()));
    }

    /**
     * Rows times the block diagonal of the matrices.
     *
     * @param x [T, in]
     * @param blocks [in / b, b, b], or [1, b, b] for the same matrix in each block
     * @return [T, in] of x's type
     */
    public static Tensor times(Tensor x, Tensor blocks) {
        long rows = x.size(0);
        long in = x.size(1);
        long b = blocks.size(1);
        Tensor r = blocks.to(x.scalar_type());
        if (blocks.size(0) == 1) {
            return x.reshape(rows * (in / b), b).matmul(r.squeeze(0)).view(rows, in);
        }
        return x.reshape(rows, in / b, b).transpose(0, 1).bmm(r).transpose(0, 1).reshape(rows, in);
    }
}
