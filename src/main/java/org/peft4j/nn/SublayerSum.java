package org.peft4j.nn;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.SublayerUpdate;
import org.peft4j.ops.Ops;

/**
 * The end of a sublayer that is added to the residual stream as it is: {@code u(dropout(norm(output))) · scale}, where u is what
 * adapters make of it.
 *
 * @param norm of the output, before it is added; null: none
 * @param scale of what is added
 * @param dropout of the output, while training
 */
public record SublayerSum(SublayerPoint point, @Nullable Norm norm, double scale, double dropout) {
    /**
     * What is added to the residual.
     *
     * @param input what the sublayer read, [T, C]; asked for where adapters claim something
     * @param output what it gives, [T, C]
     * @param residual what goes around it, [T, C]
     */
    public Tensor forward(
            Supplier<Tensor> input, Tensor output, Tensor residual, Packing rows, ForwardContext context) {
        double p = context.training() ? dropout : 0;
        Claims<SublayerUpdate> claims = context.at(point);
        if (norm == null && p == 0 && scale == 1 && claims.isEmpty()) {
            return output;
        }
        return Scopes.scoped(() -> {
            Tensor y = norm == null
                    ? output
                    : norm.forward(output, null, rows, context).y();
            y = Ops.dropout(y, p, p == 0 ? 0 : context.seed(point.path()));
            if (!claims.isEmpty()) {
                y = SublayerClaims.apply(
                        claims, input.get(), y, residual, (segment, around) -> x -> x.add(around), rows, context);
            }
            return scale == 1 ? y.alias() : y.mul(new Scalar(scale));
        });
    }
}
