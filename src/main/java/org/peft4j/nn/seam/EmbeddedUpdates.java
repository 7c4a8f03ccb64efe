package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/** What the adapters of a call make of embedded rows, and its inverse. */
final class EmbeddedUpdates {
    private EmbeddedUpdates() {}

    /** The one of a segment, or null. */
    static @Nullable EmbeddedUpdate of(Claims<SequenceClaim> claims, ForwardContext.Segment segment) {
        return claims.of(segment).stream()
                .filter(EmbeddedUpdate.class::isInstance)
                .map(EmbeddedUpdate.class::cast)
                .findFirst()
                .orElse(null);
    }

    /** The rows of the texts through what is claimed for them, others as they are; h itself where nothing is. */
    static Tensor forward(Claims<SequenceClaim> claims, Tensor h, ForwardContext context) {
        if (none(claims, context)) {
            return h;
        }
        return context.bySegment(h, context.packing(), segment -> of(claims, segment), (segment, part, firstRow) -> {
            EmbeddedUpdate update = of(claims, segment);
            return update == null || part.size(0) == 0 ? part : ofTexts(update, part, firstRow, segment, context);
        });
    }

    /** The inverse for rows of all sequences; h itself where nothing is claimed. */
    static Tensor inverse(Claims<SequenceClaim> claims, Tensor h, Packing rows, ForwardContext context) {
        if (none(claims, context)) {
            return h;
        }
        return context.bySegment(h, rows, segment -> of(claims, segment), (segment, part, firstRow) -> {
            EmbeddedUpdate update = of(claims, segment);
            return update == null || part.size(0) == 0 ? part : update.inverse(part, context);
        });
    }

    private static boolean none(Claims<SequenceClaim> claims, ForwardContext context) {
        return claims.isEmpty() || context.segments().stream().allMatch(segment -> of(claims, segment) == null);
    }

    private static Tensor ofTexts(
            EmbeddedUpdate update, Tensor part, long firstRow, ForwardContext.Segment segment, ForwardContext context) {
        Packing all = context.packing();
        Packing text = context.text();
        boolean inserted = false;
        for (int s = segment.first(); s < segment.last(); s++) {
            inserted |= context.inserted(s) > 0;
        }
        if (!inserted) {
            return update.forward(part, context);
        }
        TensorVector texts = new TensorVector();
        for (int s = segment.first(); s < segment.last(); s++) {
            texts.push_back(part.narrow(0, context.rowOf(s, 0) - firstRow, text.length(s)));
        }
        Tensor made = update.forward(torch.cat(texts, 0), context);
        TensorVector joined = new TensorVector();
        long done = 0;
        for (int s = segment.first(); s < segment.last(); s++) {
            joined.push_back(part.narrow(0, all.begin(s) - firstRow, context.inserted(s)));
            joined.push_back(made.narrow(0, done, text.length(s)));
            done += text.length(s);
        }
        return torch.cat(joined, 0);
    }
}
