package org.peft4j.model.decoder;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.ExpertsUpdate;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.ops.Ops;

/** What adapters add at one matrix of each expert, for the rows of a call, which lie expert by expert in the sequences' order. */
final class ExpertUpdates {
    private static final ExpertUpdates NONE = new ExpertUpdates(List.of());

    /**
     * One update, of neighbouring sequences.
     *
     * @param first for each expert the number of rows before these
     * @param count for each expert how many they are
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared
    private record Update(Tensor a, Tensor b, double scale, long[] first, float[] count) {}

    private final List<Update> updates;

    private ExpertUpdates(List<Update> updates) {
        this.updates = updates;
    }

    /**
     * Those of a call.
     *
     * @param counts rows of each expert
     * @param countsOf the same of a segment alone; asked for where there are several
     */
    static ExpertUpdates of(
            Claims<ExpertsUpdate> claims,
            List<ForwardContext.Segment> segments,
            float[] counts,
            Function<ForwardContext.Segment, float[]> countsOf) {
        if (claims.isEmpty()) {
            return NONE;
        }
        List<Update> updates = new ArrayList<>();
        long[] before = new long[counts.length];
        for (ForwardContext.Segment segment : segments) {
            float[] own = segments.size() == 1 ? counts : countsOf.apply(segment);
            for (ExpertsUpdate claim : claims.of(segment)) {
                updates.add(new Update(claim.a(), claim.b(), claim.scale(), before.clone(), own));
            }
            for (int e = 0; e < before.length; e++) {
                before[e] += (long) own[e];
            }
        }
        return new ExpertUpdates(updates);
    }

    /**
     * Those of an expert.
     *
     * @param parts rows of the matrices that lie one below the other in the expert's
     */
    List<Ops.LowRankUpdate> of(int expert, long... parts) {
        List<Ops.LowRankUpdate> found = new ArrayList<>();
        for (Update update : updates) {
            long count = (long) update.count()[expert];
            long first = update.first()[expert];
            long row = 0;
            for (int part = 0; part < parts.length && count > 0; part++) {
                found.add(new Ops.LowRankUpdate(
                        new Ops.PartRows(part, first, first + count),
                        update.a().select(0, expert),
                        update.b().select(0, expert).narrow(0, row, parts[part]),
                        update.scale(),
                        0));
                row += parts[part];
            }
        }
        return found;
    }
}
