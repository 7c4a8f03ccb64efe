package org.peft4j.nn.seam;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** What the adapters of a call add to the embedded words of its texts. */
final class PositionUpdates {
    private PositionUpdates() {}

    /** Refuses a text that is longer than what one of its adapters has rows for. */
    static void check(Packing text, ForwardContext.Segment segment) {
        for (Adapter adapter : segment.adapters()) {
            for (int s = segment.first(); s < segment.last(); s++) {
                if (text.length(s) > adapter.longestText()) {
                    throw new IllegalArgumentException("sequence " + s + " must have at most " + adapter.longestText()
                            + " tokens, so many the adapter '" + adapter.name() + "' has rows for, has "
                            + text.length(s));
                }
            }
        }
    }

    static Tensor add(
            Claims<SequenceClaim> claims, Tensor textRows, Packing text, List<ForwardContext.Segment> segments) {
        boolean any = segments.stream()
                .flatMap(segment -> claims.of(segment).stream())
                .anyMatch(PositionUpdate.class::isInstance);
        if (!any) {
            return textRows;
        }
        TensorVector parts = new TensorVector();
        for (ForwardContext.Segment segment : segments) {
            long begin = text.begin(segment.first());
            long end = segment.last() == 0 ? 0 : text.end(segment.last() - 1);
            Tensor rows = textRows.narrow(0, begin, Math.max(0, end - begin));
            for (SequenceClaim claim : claims.of(segment)) {
                if (claim instanceof PositionUpdate update && end > begin) {
                    rows = rows.add(atTexts(update, text, segment).to(textRows.scalar_type()));
                }
            }
            parts.push_back(rows);
        }
        return torch.cat(parts, 0);
    }

    // Text by text: rows that several texts share collect their gradient in the order of the texts.
    private static Tensor atTexts(PositionUpdate update, Packing text, ForwardContext.Segment segment) {
        int most = 0;
        for (int s = segment.first(); s < segment.last(); s++) {
            most = Math.max(most, text.length(s));
        }
        Tensor rows = update.rows(most);
        TensorVector parts = new TensorVector();
        for (int s = segment.first(); s < segment.last(); s++) {
            parts.push_back(rows.narrow(0, 0, text.length(s)));
        }
        return torch.cat(parts, 0);
    }
}
