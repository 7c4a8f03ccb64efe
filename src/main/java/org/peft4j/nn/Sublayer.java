package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.SublayerUpdate;

/**
 * The end of a sublayer whose norm stands behind it: {@code norm(u(dropout(output)) + residual)}, where u is what adapters
 * make of it; or u alone, if they say so ({@link SublayerUpdate#behindNorm}). Where they claim nothing, dropout, sum and norm are one
 * operation.
 */
public record Sublayer(SublayerPoint point, LayerNorm norm) {
    /**
     * @param input what the sublayer read, [T, C]
     * @param output what it gives, before dropout, [T, C]
     * @param residual what goes around it, [T, C]
     * @param dropout of the output, while training
     */
    public Tensor forward(
            Tensor input, Tensor output, Tensor residual, Packing rows, ForwardContext context, double dropout) {
        Claims<SublayerUpdate> claims = context.at(point);
        if (claims.isEmpty()) {
            return norm.forward(output, residual, rows, context, dropout);
        }
        return Scopes.scoped(() -> {
            Tensor dropped = norm.dropout(output, context, dropout);
            Tensor updated = SublayerClaims.apply(
                    claims,
                    input,
                    dropped,
                    residual,
                    (segment, around) -> x -> norm.ofSegment(segment, x, around, context),
                    rows,
                    context);
            if (context.segments().stream().noneMatch(segment -> behindNorm(claims, segment))) {
                return norm.forward(updated, residual, rows, context, 0);
            }
            return context.bySegment(
                            updated,
                            rows,
                            segment -> segment,
                            (segment, part, firstRow) -> behindNorm(claims, segment)
                                    ? part
                                    : norm.ofSegment(
                                            segment, part, residual.narrow(0, firstRow, part.size(0)), context))
                    .alias();
        });
    }

    private static boolean behindNorm(Claims<SublayerUpdate> claims, ForwardContext.Segment segment) {
        return claims.of(segment).stream().anyMatch(SublayerUpdate::behindNorm);
    }
}
