package org.peft4j.nn;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Ops;

/** {@code z / rms(z) weight} with {@code z = x + residual}, frozen or replaced by adapters. */
public final class RmsNorm {
    private final TensorPoint weight;
    private final double eps;

    /**
     * @param path such as {@code model.layers.0.input_layernorm}
     * @param weight [C] of the activations' type
     */
    public RmsNorm(String path, Tensor weight, double eps) {
        this.weight = new TensorPoint(path + ".weight", weight);
        this.eps = eps;
    }

    /**
     * @param x [T, C]
     * @param residual [T, C], or null
     * @return the normed rows, and z, the next residual
     */
    public Ops.Normed forward(Tensor x, @Nullable Tensor residual, Packing rows, ForwardContext context) {
        Claims<Parameter> weights = context.at(weight);
        Tensor[] results = Scopes.scopedAll(() -> {
            List<ForwardContext.Segment> segments = context.segments();
            if (segments.stream().map(weights::of).distinct().count() == 1) {
                Ops.Normed normed = Ops.rmsNorm(x, residual, value(weights, segments.get(0)), eps, 0, 0, 0);
                return new Tensor[] {normed.y(), normed.z()};
            }
            Tensor z = residual == null ? x.alias() : x.add(residual);
            Tensor y = context.bySegment(
                    z,
                    rows,
                    weights::of,
                    (segment, part, firstRow) -> Ops.rmsNorm(part, null, value(weights, segment), eps, 0, 0, 0)
                            .y());
            return new Tensor[] {y, z};
        });
        return new Ops.Normed(results[0], results[1]);
    }

    private Tensor value(Claims<Parameter> weights, ForwardContext.Segment segment) {
        return weights.one(
                segment, parameter -> parameter.value().to(weight.value().scalar_type()), weight.value());
    }
}
