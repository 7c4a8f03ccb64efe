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

/** {@code z / rms(z) (weight + offset)} with {@code z = x + residual}; the weight is frozen or replaced by adapters. */
public final class RmsNorm implements Norm {
    private final TensorPoint weight;
    private final double eps;
    private final double offset;

    /**
     * @param path such as {@code model.layers.0.input_layernorm}
     * @param weight [C] of the activations' type
     * @param offset 0, or 1 where files hold weight - 1
     */
    public RmsNorm(String path, Tensor weight, double eps, double offset) {
        this.weight = new TensorPoint(path + ".weight", weight);
        this.eps = eps;
        this.offset = offset;
    }

    @Override
    public Ops.Normed forward(Tensor x, @Nullable Tensor residual, Packing rows, ForwardContext context) {
        Claims<Parameter> weights = context.at(weight);
        Tensor[] results = Scopes.scopedAll(() -> {
            List<ForwardContext.Segment> segments = context.segments();
            if (segments.stream().map(weights::of).distinct().count() == 1) {
                Ops.Normed normed = Ops.rmsNorm(x, residual, value(weights, segments.get(0)), eps, offset, 0, 0);
                return new Tensor[] {normed.y(), normed.z()};
            }
            Tensor z = residual == null ? x.alias() : x.add(residual);
            Tensor y = context.bySegment(
                    z, rows, weights::of, (segment, part, firstRow) -> normed(part, value(weights, segment)));
            return new Tensor[] {y, z};
        });
        return new Ops.Normed(results[0], results[1]);
    }

    /**
     * Norms heads of this norm's width: each by itself, or all heads of a row as one.
     *
     * @param x [T, heads, D], D or heads · D numbers in the weight
     * @return [T, heads, D]
     */
    public Tensor heads(Tensor x, Packing rows, ForwardContext context) {
        Claims<Parameter> weights = context.at(weight);
        long width = weight.value().numel();
        return Scopes.scoped(() -> context.bySegment(
                x,
                rows,
                weights::of,
                (segment, part, firstRow) -> normed(part.reshape(-1, width), value(weights, segment))
                        .contiguous() // on a card its rows may lie apart
                        .view(part.size(0), part.size(1), part.size(2))));
    }

    private Tensor normed(Tensor x, Tensor value) {
        return Ops.rmsNorm(x, null, value, eps, offset, 0, 0).y();
    }

    private Tensor value(Claims<Parameter> weights, ForwardContext.Segment segment) {
        return weights.one(
                segment, parameter -> parameter.value().to(weight.value().scalar_type()), weight.value());
    }
}
