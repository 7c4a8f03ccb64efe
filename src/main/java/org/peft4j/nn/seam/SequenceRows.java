package org.peft4j.nn.seam;

/**
 * Rows of neighbouring sequences, as a claim sees them in a tensor of their own [T, …], one behind the other.
 *
 * @param packing how the rows of all sequences of the call lie, which may be some of each sequence
 * @param first number of the first of these sequences
 * @param last the one behind their last
 */
public record SequenceRows(Packing packing, int first, int last) {
    /** How many sequences there are. */
    public int sequences() {
        return last - first;
    }

    /** T. */
    public long rows() {
        return first == last ? 0 : packing.end(last - 1) - packing.begin(first);
    }

    /** Number, in the tensor, of the first row of one of these sequences. */
    public long begin(int sequence) {
        return packing.begin(sequence) - packing.begin(first);
    }

    /** How many rows of a sequence are here. */
    public int length(int sequence) {
        return packing.length(sequence);
    }

    /** The number, within the whole sequence, of its first row that is here: 0 but for rows that were chosen of more. */
    public int firstOf(int sequence) {
        return packing.first(sequence);
    }

    /** How many rows of the sequence stand behind those that are here. */
    public int behind(int sequence) {
        return packing.behind(sequence);
    }
}
