package org.peft4j.nn.seam;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.Tensors;

/**
 * How sequences lie in a packed tensor [T, …]: one after the other, without padding. Sequence s has rows
 * [{@link #begin begin(s)}, {@link #end end(s)}). Immutable; the native copy of the offsets lives as long as this object.
 */
public final class Packing {
    private final long[] offsets;
    private final int[] firsts;
    private final long longest;
    private final Tensor cuSeqlens;
    private final int @Nullable [] behind;

    private Packing(long[] offsets, int[] firsts, int @Nullable [] behind) {
        this.offsets = offsets;
        this.firsts = firsts;
        this.behind = behind;
        long most = 0;
        for (int s = 0; s + 1 < offsets.length; s++) {
            most = Math.max(most, offsets[s + 1] - offsets[s]);
        }
        longest = most;
        cuSeqlens = Tensors.ofLongs(offsets, offsets.length);
    }

    /** Sequences with these lengths; 0 is allowed. */
    public static Packing of(int... lengths) {
        return of(lengths, new int[lengths.length], null);
    }

    /**
     * Parts of longer sequences.
     *
     * @param lengths of the parts
     * @param firsts the number, within its whole sequence, of each part's first row
     * @param behind how many rows of each sequence stand behind its part
     */
    static Packing parts(int[] lengths, int[] firsts, int[] behind) {
        return of(lengths, firsts.clone(), behind.clone());
    }

    /** Rows that are none of the texts', and stand before them. */
    public static Packing beforeTexts(int... lengths) {
        int[] behind = new int[lengths.length];
        Arrays.fill(behind, Integer.MAX_VALUE);
        return of(lengths, new int[lengths.length], behind);
    }

    private static Packing of(int[] lengths, int[] firsts, int @Nullable [] behind) {
        long[] offsets = new long[lengths.length + 1];
        for (int s = 0; s < lengths.length; s++) {
            if (lengths[s] < 0) {
                throw new IllegalArgumentException(
                        "length of sequence " + s + " must not be negative, got " + lengths[s]);
            }
            offsets[s + 1] = offsets[s] + lengths[s];
        }
        return new Packing(offsets, firsts, behind);
    }

    /** One row for each sequence: the layout of pooled rows. */
    public static Packing ones(int sequences) {
        int[] lengths = new int[sequences];
        Arrays.fill(lengths, 1);
        return of(lengths);
    }

    /** Sequences [first, last) of this packing, by themselves. */
    public Packing slice(int first, int last) {
        int[] lengths = new int[last - first];
        for (int s = first; s < last; s++) {
            lengths[s - first] = (int) (offsets[s + 1] - offsets[s]);
        }
        return of(
                lengths,
                Arrays.copyOfRange(firsts, first, last),
                behind == null ? null : Arrays.copyOfRange(behind, first, last));
    }

    public int sequences() {
        return offsets.length - 1;
    }

    /** T. */
    public long rows() {
        return offsets[offsets.length - 1];
    }

    public long begin(int sequence) {
        return offsets[sequence];
    }

    public long end(int sequence) {
        return offsets[sequence + 1];
    }

    public int length(int sequence) {
        return (int) (offsets[sequence + 1] - offsets[sequence]);
    }

    /** How many rows of the sequence stand behind those that are here: 0 where its last row is among them. */
    int behind(int sequence) {
        return behind == null ? 0 : behind[sequence];
    }

    /** The number, within the whole sequence, of its first row that is here: 0 but for rows that were chosen of more. */
    public int first(int sequence) {
        return firsts[sequence];
    }

    /** The length of the longest sequence. */
    public long longest() {
        return longest;
    }

    /** The offsets, int64 [sequences + 1] on the CPU. */
    public Tensor cuSeqlens() {
        return cuSeqlens;
    }

    @Override
    public String toString() {
        return "Packing" + Arrays.toString(offsets);
    }
}
