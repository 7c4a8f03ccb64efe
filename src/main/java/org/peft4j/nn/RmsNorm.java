package org.peft4j.nn;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;

/**
 * {@code z / rms(z) weight} with {@code z = x + residual}, frozen or replaced by adapters.
 *
 * @param path such as {@code model.layers.0.input_layernorm}
 * @param weight [C] of the activations' type
 */
public record RmsNorm(String path, Tensor weight, double eps) {
    /**
     * @param x [T, C]
     * @param residual [T, C], or null
     * @return the normed rows, and z, the next residual
     */
    public Ops.Normed forward(Tensor x, @Nullable Tensor residual, Packing rows, ForwardContext context) {
        Tensor[] results = Scopes.scopedAll(() -> {
            List<ForwardContext.Segment> segments = context.segments();
            if (segments.stream().map(this::replaced).distinct().count() == 1) {
                Ops.Normed normed = Ops.rmsNorm(x, residual, value(segments.get(0)), eps, 0, 0, 0);
                return new Tensor[] {normed.y(), normed.z()};
            }
            Tensor z = residual == null ? x.alias() : x.add(residual);
            Tensor y = context.bySegment(
                    z,
                    rows,
                    this::replaced,
                    (segment, part, firstRow) -> Ops.rmsNorm(part, null, value(segment), eps, 0, 0, 0)
                            .y());
            return new Tensor[] {y, z};
        });
        return new Ops.Normed(results[0], results[1]);
    }

    private Object replaced(ForwardContext.Segment segment) {
        return ForwardContext.replacement(segment, path + ".weight");
    }

    private Tensor value(ForwardContext.Segment segment) {
        return ForwardContext.replacement(segment, path + ".weight")
                .map(parameter -> parameter.value().to(weight.scalar_type()))
                .orElse(weight);
    }
}
