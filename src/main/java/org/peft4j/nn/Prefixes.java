package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.HiddenPrefix;
import org.peft4j.nn.seam.KeyValueClaim;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.PrefixKeyValues;
import org.peft4j.nn.seam.SequenceKeyValues;
import org.peft4j.nn.seam.SequenceRows;

/**
 * Keys and values in front of those of sequences, in one softmax with them.
 *
 * @param read what attention reads of all rows of the call, [T, C]
 * @param hidden those of {@link PromptRows#hidden}, as attention takes them; null: there are none
 */
public record Prefixes(KeyValuePoint point, Tensor read, PromptRows.@Nullable KeyValues hidden) {
    /**
     * Of neighbouring sequences with the same claims.
     *
     * @return [P, heads, D], or of each sequence its own, [sequences, P, heads, D]; null if they have none
     */
    public PrefixKeyValues.@Nullable KeyValues of(ForwardContext.Segment segment, ForwardContext context) {
        Claims<KeyValueClaim> claims = context.at(point);
        KeyValueClaim claim = claims.one(segment, found -> found, null);
        if (claim instanceof PrefixKeyValues ready) {
            return ready.keyValues(context);
        }
        if (claim instanceof SequenceKeyValues ofEach && segment.first() < segment.last()) {
            SequenceRows rows = new SequenceRows(context.packing(), segment.first(), segment.last());
            long begin = context.packing().begin(segment.first());
            return ofEach.keyValues(read.narrow(0, begin, rows.rows()), rows, context);
        }
        if (!(claim instanceof HiddenPrefix) || hidden == null || segment.first() == segment.last()) {
            return null;
        }
        PromptRows.KeyValues own = hidden.of(segment);
        long sequences = (long) segment.last() - segment.first();
        long rows = own.packing().length(0);
        if (rows == 0) {
            return null; // they go through the block as rows
        }
        return new PrefixKeyValues.KeyValues(
                own.keys().view(sequences, rows, point.heads(), point.headSize()),
                own.values().view(sequences, rows, point.heads(), point.headSize()));
    }
}
