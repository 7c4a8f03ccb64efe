package org.peft4j.nn.seam;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** The rows that the adapters of a call insert before its texts. */
final class InsertedRowsOf {
    private InsertedRowsOf() {}

    /** How many a text of the segment gets. */
    static int count(ForwardContext.Segment segment) {
        return segment.adapters().stream().mapToInt(Adapter::inserted).sum();
    }

    /** The texts with so many rows before each; the same object if there are none. */
    static Packing packing(Packing text, int[] inserted) {
        boolean any = false;
        int[] lengths = new int[inserted.length];
        for (int s = 0; s < lengths.length; s++) {
            lengths[s] = inserted[s] + text.length(s);
            any |= inserted[s] > 0;
        }
        return any ? Packing.of(lengths) : text;
    }

    // Sequence by sequence: rows that several texts share collect their gradient in the order of the texts.
    static Tensor insert(
            Claims<SequenceClaim> claims,
            Tensor textRows,
            ForwardContext context,
            List<ForwardContext.Segment> segments) {
        Packing text = context.text();
        TensorVector parts = new TensorVector();
        for (ForwardContext.Segment segment : segments) {
            List<Tensor> before = claims.of(segment).stream()
                    .filter(InsertedRows.class::isInstance)
                    .map(claim ->
                            ((InsertedRows) claim).rows(context, segment.task()).to(textRows.scalar_type()))
                    .toList();
            for (int s = segment.first(); s < segment.last(); s++) {
                before.forEach(parts::push_back);
                parts.push_back(textRows.narrow(0, text.begin(s), text.length(s)));
            }
        }
        return torch.cat(parts, 0);
    }
}
