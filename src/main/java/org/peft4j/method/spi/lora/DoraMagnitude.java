package org.peft4j.method.spi.lora;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Magnitude;
import org.peft4j.nn.seam.Parameter;

/**
 * DoRA's magnitude: {@code y = m / c ∘ (W + s B A) x + b}, where c are the norms of the rows of {@code W + s B A}, made anew in each
 * forward and without a gradient of their own (Liu et al. 2024, section 4.3).
 *
 * @param trained m [out]
 * @param update B A and s
 * @param weight the frozen W [out, in], float32
 * @param squares {@link #squares} of it
 */
record DoraMagnitude(Parameter trained, LowRank update, Supplier<Tensor> weight, Tensor squares) implements Magnitude {
    @Override
    public Tensor factors() {
        return trained.value().div(norms());
    }

    @Override
    public boolean dropsInput() {
        return true;
    }

    /** {@code ‖w + s b a‖² = ‖w‖² + 2 s b · (a w) + s² b (a aᵀ) bᵀ} of each row: without a matrix as large as W. */
    private Tensor norms() {
        Tensor w = weight.get();
        Tensor a = update.a().detach();
        Tensor b = update.b().detach().mul(new Scalar(update.scale()));
        Tensor mixed = b.mul(w.matmul(a.t())).mul(new Scalar(2.0));
        Tensor own = b.matmul(a.matmul(a.t())).mul(b);
        return squares.add(mixed.add(own).sum(1)).clamp_min(new Scalar(0.0)).sqrt();
    }

    /** The squared norms of W's rows. */
    static Tensor squares(Tensor w) {
        return w.mul(w).sum(1);
    }
}
