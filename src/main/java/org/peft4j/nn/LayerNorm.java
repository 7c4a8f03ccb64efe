package org.peft4j.nn;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;

/**
 * {@code norm(dropout(x) + residual) weight + bias}, frozen or replaced by adapters.
 *
 * @param path such as {@code bert.encoder.layer.0.output.LayerNorm}
 * @param weight [C] of the activations' type, bias alike
 */
public record LayerNorm(String path, Tensor weight, Tensor bias, double eps) {
    /**
     * @param x [T, C]
     * @param residual [T, C], or null
     * @param dropout of x, while training
     */
    public Tensor forward(Tensor x, @Nullable Tensor residual, Packing rows, ForwardContext context, double dropout) {
        double p = context.training() ? dropout : 0;
        return Scopes.scoped(() -> context.bySegment(x, rows, this::replacements, (segment, part, firstRow) -> {
            Tensor other = residual == null ? null : residual.narrow(0, firstRow, part.size(0));
            return Ops.layerNorm(
                    part,
                    other,
                    value(segment, path + ".weight", weight),
                    value(segment, path + ".bias", bias),
                    eps,
                    p,
                    context.seed(path + "#" + firstRow));
        }));
    }

    private List<?> replacements(ForwardContext.Segment segment) {
        return List.of(
                ForwardContext.replacement(segment, path + ".weight"),
                ForwardContext.replacement(segment, path + ".bias"));
    }

    private static Tensor value(ForwardContext.Segment segment, String path, Tensor frozen) {
        return ForwardContext.replacement(segment, path)
                .map(parameter -> parameter.value().to(frozen.scalar_type()))
                .orElse(frozen);
    }
}
