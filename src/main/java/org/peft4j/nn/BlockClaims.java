package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.BlockUpdate;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SequenceRows;

/** What adapters make of a block's output, one claim behind the other. */
public final class BlockClaims {
    private BlockClaims() {}

    /**
     * Runs a block and what is claimed behind it. Rows that nobody reads are not computed, unless an adapter asks for all.
     *
     * @param h hidden states of all rows, [T, C]
     * @param rows which of them are read behind this block
     * @return the read rows, one behind the other: [R, C]
     */
    public static Tensor forward(Block block, Tensor h, ReadRows rows, ForwardContext context) {
        boolean whole = rows.isAll(context) || !context.readsAllRows();
        Claims<BlockUpdate> claims = context.at(block.point());
        if (whole && claims.isEmpty()) {
            return block.forward(h, rows, context);
        }
        ReadRows computed = whole ? rows : ReadRows.ALL;
        return Scopes.scoped(() -> {
            Tensor out = applied(claims, block.forward(h, computed, context), computed, context);
            return whole ? out.alias() : rows.select(out, context);
        });
    }

    private static Tensor applied(Claims<BlockUpdate> claims, Tensor h, ReadRows rows, ForwardContext context) {
        if (claims.isEmpty()) {
            return h;
        }
        Packing packing = rows.packing(context);
        return context.bySegment(h, packing, claims::of, (segment, part, firstRow) -> {
            SequenceRows own = new SequenceRows(packing, segment.first(), segment.last());
            Tensor y = part;
            for (BlockUpdate claim : claims.of(segment)) {
                y = claim.apply(y, own, context);
            }
            return y;
        });
    }
}
