package org.peft4j.method.spi.road;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.method.road.RoadVariant;
import org.peft4j.nn.seam.OutputUpdate;
import org.peft4j.nn.seam.Parameter;

/**
 * {@code y ∘ C + y' ∘ S}, where y' has of each group's first half the second one's negative, and of the second half the first one;
 * {@code C = α cos θ} and {@code S = α sin θ}.
 */
record PairRotation(RoadVariant variant, long group, Parameter theta, Parameter alpha) implements OutputUpdate {
    /** C and S, float32 [out]. */
    private Tensor[] factors() {
        Tensor angles = theta.value();
        Tensor scales = alpha.value();
        return switch (variant) {
            case ROAD_1 -> new Tensor[] {twice(scales.mul(angles.cos())), twice(scales.mul(angles.sin()))};
            case ROAD_2 -> new Tensor[] {scales.mul(angles.cos()), scales.mul(angles.sin())};
            case ROAD_4 ->
                new Tensor[] {
                    half(scales, 0).mul(half(angles, 0).cos()),
                    half(scales, 1).mul(half(angles, 1).sin())
                };
        };
    }

    /** Values of pairs for both of their outputs. */
    private Tensor twice(Tensor ofPairs) {
        return ofPairs.view(-1, 1, group / 2).expand(-1, 2, group / 2).reshape(-1);
    }

    /** Of each group's values those of one term. */
    private Tensor half(Tensor values, long term) {
        return values.view(-1, 2, group).select(1, term).reshape(-1);
    }

    @Override
    public Tensor of(Tensor y) {
        Tensor[] factors = factors();
        Tensor pairs = y.reshape(y.size(0), y.size(1) / group, 2, group / 2);
        TensorVector turned = new TensorVector(pairs.select(2, 1).neg(), pairs.select(2, 0));
        Tensor other = torch.stack(turned, 2).view(y.size(0), y.size(1));
        return y.mul(factors[0].to(y.scalar_type())).add(other.mul(factors[1].to(y.scalar_type())));
    }
}
