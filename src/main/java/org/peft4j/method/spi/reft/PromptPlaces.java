package org.peft4j.method.spi.reft;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.ops.Device;

/**
 * The first and the last tokens of prompts, and where their rows are in a call. What counts as both counts as last.
 *
 * @param prefix how many first ones
 * @param suffix how many last ones
 */
record PromptPlaces(int prefix, int suffix) {
    /** Which of the places. */
    enum Kind {
        FIRST,
        LAST,
        BOTH
    }

    /**
     * The numbers of rows of a tensor that stand at places, int64, made once a call.
     *
     * @param device of the tensor
     */
    Tensor rows(Kind kind, SequenceRows rows, ForwardContext context, Device device) {
        return context.once(List.of(this, kind, rows), () -> {
            long[] chosen = new long[Math.toIntExact(rows.rows())];
            int n = 0;
            for (int s = rows.first(); s < rows.last(); s++) {
                int length = context.promptLength(s);
                // the place, in the prompt, of the sequence's first row here: below 0 where rows are inserted
                int place = context.tokensBefore(s) - context.inserted(s) + rows.firstOf(s);
                for (int i = 0; i < rows.length(s); i++) {
                    if (has(kind, place + i, length)) {
                        chosen[n++] = rows.begin(s) + i;
                    }
                }
            }
            return Tensors.ofLongs(device, chosen, n);
        });
    }

    private boolean has(Kind kind, int place, int length) {
        if (place < 0 || place >= length) {
            return false;
        }
        boolean last = place >= length - suffix;
        boolean first = place < prefix;
        return switch (kind) {
            case FIRST -> first && !last;
            case LAST -> last;
            case BOTH -> first || last;
        };
    }
}
