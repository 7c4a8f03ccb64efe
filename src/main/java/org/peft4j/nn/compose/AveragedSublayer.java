package org.peft4j.nn.compose;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.SublayerUpdate;

/**
 * The mean of what some parts give at a sublayer; a part that claims nothing there gives the sublayer's own output. Summed in
 * float32.
 *
 * @param weights one for each part, their sum is 1
 * @param behindNorm whether the parts give what stands behind the norm
 */
record AveragedSublayer(List<SublayerChain> parts, List<Double> weights, boolean behindNorm) implements SublayerUpdate {
    AveragedSublayer {
        parts = List.copyOf(parts);
        weights = List.copyOf(weights);
    }

    @Override
    public Tensor apply(Sublayer at, ForwardContext context) {
        Tensor sum = null;
        for (int i = 0; i < parts.size(); i++) {
            Tensor own = parts.get(i)
                    .apply(at, context, behindNorm)
                    .to(ScalarType.Float)
                    .mul(new Scalar(weights.get(i)));
            sum = sum == null ? own : sum.add(own);
        }
        return java.util.Objects.requireNonNull(sum).to(at.output().scalar_type());
    }
}
