package org.peft4j.method.spi.loha;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;

/**
 * {@code ΔW = scale (A₁ B₁) ∘ (A₂ B₂)}, in two forms. The folded one is a product of rank r²: column jk of its B is
 * {@code A₁[:,j] ∘ A₂[:,k]}, row jk of its A is {@code B₁[j] ∘ B₂[k]}.
 *
 * @param a1 A₁ [out, r]
 * @param b1 B₁ [r, in]
 * @param a2 A₂ [out, r]
 * @param b2 B₂ [r, in]
 */
record HadamardProduct(Parameter a1, Parameter b1, Parameter a2, Parameter b2, double scale) {
    private long rank() {
        return b1.value().size(0);
    }

    private long in() {
        return b1.value().size(1);
    }

    private long out() {
        return a1.value().size(0);
    }

    /** Whether the folded form multiplies less for each row of x than ΔW does. */
    boolean isLowRank() {
        return rank() * rank() * (in() + out()) < in() * out();
    }

    /** As a product of two matrices. */
    final class Folded implements LowRank {
        @Override
        public Tensor a() {
            return b1.value().unsqueeze(1).mul(b2.value().unsqueeze(0)).reshape(rank() * rank(), in());
        }

        @Override
        public Tensor b() {
            return a1.value().unsqueeze(2).mul(a2.value().unsqueeze(1)).reshape(out(), rank() * rank());
        }

        @Override
        public double scale() {
            return scale;
        }

        @Override
        public double dropout() {
            return 0;
        }
    }

    /** As one matrix. */
    final class Whole implements WeightDelta {
        @Override
        public Tensor matrix() {
            return a1.value()
                    .matmul(b1.value())
                    .mul(a2.value().matmul(b2.value()))
                    .mul(new Scalar(scale));
        }
    }
}
