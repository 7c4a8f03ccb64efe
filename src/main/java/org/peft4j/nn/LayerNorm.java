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

/** {@code norm(dropout(x) + residual) weight + bias}, frozen or replaced by adapters. */
public final class LayerNorm implements Norm {
    private final String path;
    private final TensorPoint weight;
    private final TensorPoint bias;
    private final double eps;

    /**
     * @param path such as {@code bert.encoder.layer.0.output.LayerNorm}
     * @param weight [C] of the activations' type, bias alike
     */
    public LayerNorm(String path, Tensor weight, Tensor bias, double eps) {
        this.path = path;
        this.weight = new TensorPoint(path + ".weight", weight);
        this.bias = new TensorPoint(path + ".bias", bias);
        this.eps = eps;
    }

    @Override
    public Ops.Normed forward(Tensor x, @Nullable Tensor residual, Packing rows, ForwardContext context) {
        Tensor[] results = Scopes.scopedAll(() -> {
            Tensor z = residual == null ? x.alias() : x.add(residual);
            return new Tensor[] {forward(z, null, rows, context, 0), z};
        });
        return new Ops.Normed(results[0], results[1]);
    }

    /**
     * The normed rows alone.
     *
     * @param x [T, C]
     * @param residual [T, C], or null
     * @param dropout of x, while training
     */
    public Tensor forward(Tensor x, @Nullable Tensor residual, Packing rows, ForwardContext context, double dropout) {
        double p = context.training() ? dropout : 0;
        Claims<Parameter> weights = context.at(weight);
        Claims<Parameter> biases = context.at(bias);
        return Scopes.scoped(() -> context.bySegment(
                x,
                rows,
                segment -> List.of(weights.of(segment), biases.of(segment)),
                (segment, part, firstRow) -> Ops.layerNorm(
                        part,
                        residual == null ? null : residual.narrow(0, firstRow, part.size(0)),
                        value(weight, weights, segment),
                        value(bias, biases, segment),
                        eps,
                        p,
                        seed(firstRow, context))));
    }

    /** {@code norm(x + residual)} of rows that belong to one segment. */
    Tensor ofSegment(ForwardContext.Segment segment, Tensor x, Tensor residual, ForwardContext context) {
        Tensor w = value(weight, context.at(weight), segment);
        Tensor b = value(bias, context.at(bias), segment);
        return Ops.layerNorm(x, residual, w, b, eps, 0, 0);
    }

    /** {@code dropout(x)} with the mask of {@link #forward}. */
    Tensor dropout(Tensor x, ForwardContext context, double dropout) {
        return Ops.dropout(x, context.training() ? dropout : 0, seed(0, context));
    }

    private long seed(long firstRow, ForwardContext context) {
        return context.training() ? context.seed(path + "#" + firstRow) : 0;
    }

    private static Tensor value(TensorPoint frozen, Claims<Parameter> claims, ForwardContext.Segment segment) {
        return claims.one(
                segment, parameter -> parameter.value().to(frozen.value().scalar_type()), frozen.value());
    }
}
