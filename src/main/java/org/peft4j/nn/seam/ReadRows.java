package org.peft4j.nn.seam;

import java.util.List;
import java.util.function.ToIntBiFunction;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Device;

/**
 * Which rows of each sequence somebody reads behind a block: a run of neighbouring ones. What nobody reads is not computed.
 * In a model whose rows see only what is before them the run has to end with the sequence ({@link #ALL}, {@link #last}),
 * because attention aligns queries with the last keys.
 */
public final class ReadRows {
    /** Every row, inserted ones too. */
    public static final ReadRows ALL = new ReadRows((context, s, i) -> 0, (context, s, i) -> length(context, s));

    /** The first row of each sequence, where encoders pool; an inserted one if there are such, as in Hugging Face PEFT. */
    public static final ReadRows FIRST = new ReadRows((context, s, i) -> 0, (context, s, i) -> 1);

    /** The rows of the texts, without those that adapters insert before them. */
    public static final ReadRows TEXT =
            new ReadRows((context, s, i) -> context.inserted(s), (context, s, i) -> length(context, s));

    private final Bound begin;
    private final Bound end;

    private ReadRows(Bound begin, Bound end) {
        this.begin = begin;
        this.end = end;
    }

    /** The last n rows of each sequence, which has at least as many. */
    public static ReadRows last(int n) {
        return new ReadRows((context, s, i) -> length(context, s) - n, (context, s, i) -> length(context, s));
    }

    /** The last rows of each sequence, as many as the list says for it. */
    public static ReadRows last(List<Integer> counts) {
        return new ReadRows(
                (context, s, i) -> length(context, s) - counts.get(i), (context, s, i) -> length(context, s));
    }

    /**
     * The rows that tell the tokens of each text from a certain one on, and the last row: they begin with the row before that
     * token. Before the first token of all stands an inserted row, or none; then they begin with the first row, as they do where
     * inserted rows are told, too.
     *
     * @param firsts number of that token for each text; where the text is shorter, its last row alone is read
     */
    public static ReadRows telling(List<Integer> firsts) {
        return new ReadRows(
                (context, s, i) -> context.told(s).isEmpty()
                        ? Math.max(
                                0,
                                context.inserted(s)
                                        + Math.min(firsts.get(i), context.text().length(s))
                                        - 1)
                        : 0,
                (context, s, i) -> length(context, s));
    }

    /** One row of each text: that of a token, or the last one where rows are inserted before the text. */
    public static ReadRows token(List<Integer> tokens) {
        return new ReadRows(
                (context, s, i) -> context.inserted(s) > 0 ? length(context, s) - 1 : tokens.get(i),
                (context, s, i) -> context.inserted(s) > 0 ? length(context, s) : tokens.get(i) + 1);
    }

    /** Those of several groups of sequences, one behind the other. */
    public static ReadRows joined(List<Group> groups) {
        return new ReadRows(
                (context, s, i) -> in(groups, i, (reads, own) -> reads.begin.of(context, s, own)),
                (context, s, i) -> in(groups, i, (reads, own) -> reads.end.of(context, s, own)));
    }

    /** Neighbouring sequences of which the same rows are read. */
    public record Group(ReadRows reads, int sequences) {}

    private static int in(List<Group> groups, int index, ToIntBiFunction<ReadRows, Integer> bound) {
        int own = index;
        for (Group group : groups) {
            if (own < group.sequences()) {
                return bound.applyAsInt(group.reads(), own);
            }
            own -= group.sequences();
        }
        throw new IllegalArgumentException("sequence " + index + " belongs to none of the groups " + groups);
    }

    /** A row's number within its sequence; index is the sequence's number among those that this was made for. */
    @FunctionalInterface
    private interface Bound {
        int of(ForwardContext context, int sequence, int index);
    }

    private static int length(ForwardContext context, int sequence) {
        return context.packing().length(sequence);
    }

    /** Whether these are all rows there are. */
    public boolean isAll(ForwardContext context) {
        if (this == ALL) {
            return true;
        }
        for (int s = 0; s < context.packing().sequences(); s++) {
            if (begin.of(context, s, s) > 0 || end.of(context, s, s) < length(context, s)) {
                return false;
            }
        }
        return true;
    }

    /** Whether the read rows of each sequence end with it. */
    public boolean toTheEnd(ForwardContext context) {
        for (int s = 0; s < context.packing().sequences(); s++) {
            if (end.of(context, s, s) < length(context, s)) {
                return false;
            }
        }
        return true;
    }

    /** How the read rows lie when they are put one behind the other; the context's own packing if they are all. */
    public Packing packing(ForwardContext context) {
        if (isAll(context)) {
            return context.packing();
        }
        int[] lengths = new int[context.packing().sequences()];
        int[] firsts = new int[lengths.length];
        int[] behind = new int[lengths.length];
        for (int s = 0; s < lengths.length; s++) {
            firsts[s] = begin.of(context, s, s);
            int last = end.of(context, s, s);
            lengths[s] = last - firsts[s];
            behind[s] = length(context, s) - last;
        }
        return Packing.parts(lengths, firsts, behind);
    }

    /** The read rows of h, [T, …]; h itself if they are all. */
    public Tensor select(Tensor h, ForwardContext context) {
        if (isAll(context)) {
            return h;
        }
        Packing all = context.packing();
        long[] rows = new long[Math.toIntExact(packing(context).rows())];
        int n = 0;
        for (int s = 0; s < all.sequences(); s++) {
            for (int i = begin.of(context, s, s); i < end.of(context, s, s); i++) {
                rows[n++] = all.begin(s) + i;
            }
        }
        return h.index_select(0, Tensors.ofLongs(Device.of(h), rows, n));
    }
}
