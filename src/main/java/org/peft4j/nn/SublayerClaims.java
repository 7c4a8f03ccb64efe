package org.peft4j.nn;

import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.nn.seam.SublayerUpdate;

/** What adapters make of a sublayer's output, one claim behind the other. */
final class SublayerClaims {
    private SublayerClaims() {}

    /** The block's norm of {@code x + residual} for rows of one segment; the sum alone where norms stand before sublayers. */
    @FunctionalInterface
    interface NormOf {
        UnaryOperator<Tensor> of(ForwardContext.Segment segment, Tensor residual);
    }

    /**
     * What stands in place of the output.
     *
     * @param input what the sublayer read, [T, C]
     * @param output what it gives, [T, C]
     * @param residual what goes around it, [T, C]
     */
    static Tensor apply(
            Claims<SublayerUpdate> claims,
            Tensor input,
            Tensor output,
            Tensor residual,
            NormOf norm,
            Packing rows,
            ForwardContext context) {
        return context.bySegment(output, rows, segment -> segment, (segment, part, firstRow) -> {
            Tensor in = input.narrow(0, firstRow, part.size(0));
            Tensor around = residual.narrow(0, firstRow, part.size(0));
            SequenceRows own = new SequenceRows(rows, segment.first(), segment.last());
            Tensor y = part;
            for (SublayerUpdate claim : claims.of(segment)) {
                y = claim.apply(new SublayerUpdate.Sublayer(in, y, around, norm.of(segment, around), own), context);
            }
            return y;
        });
    }
}
