package org.peft4j.method.spi.osf;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;

/**
 * What is trained of a layer: {@code ΔW = U diag(s) V - W_low}, where W_low [out, in] is what U, s and V began with.
 *
 * @param u U [out, r]
 * @param s [r]
 * @param v V [r, in]
 * @param low W_low
 * @param keptU vectors [out, k] of the singular values that stay
 * @param keptV the same [k, in]
 */
record Subspace(Parameter u, Parameter s, Parameter v, Tensor low, Tensor keptU, Tensor keptV) implements WeightDelta {
    @Override
    public Tensor matrix() {
        return torch.addmm(low, u.value().mul(s.value().unsqueeze(0)), v.value(), new Scalar(-1.0), new Scalar(1.0));
    }

    /** Takes away from the gradients what lies in the space of the vectors that stay. */
    void project() {
        try (PointerScope scope = new PointerScope()) {
            Tensor du = u.value().grad();
            if (du.defined()) {
                du.sub_(keptU.matmul(keptU.t().matmul(du)));
            }
            Tensor dv = v.value().grad();
            if (dv.defined()) {
                dv.sub_(dv.matmul(keptV.t()).matmul(keptV));
            }
        }
    }
}
