package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * What rows of earlier calls leave for those that come behind them: the keys and values of each block, for the sequences of
 * a {@link ForwardContext} in its order. Blocks write this call's rows and read them together with the earlier ones; the call's
 * rows count as earlier ones when the caller says so, so all blocks see the same lengths. For inference; belongs to one thread.
 */
public interface KeyValueCache {
    /**
     * Keys and values of sequences, the prefix of each first.
     *
     * @param keys [blocks, block size, heads, D]; values alike
     * @param packing how many rows each sequence has
     * @param blockTable int32 [sequences, blocks]: which blocks are whose
     */
    record Rows(Tensor keys, Tensor values, Packing packing, Tensor blockTable) {}

    /** Whether there were calls before; else this one reads the prompts. */
    boolean filled();

    /** Rows that earlier calls left for a sequence, prefixes not counted. */
    int length(int sequence);

    /**
     * Takes this call's rows, [T, heads, D], behind the earlier ones.
     *
     * @param layer number of the block, from 0
     */
    void write(int layer, Tensor keys, Tensor values);

    /** Takes what an adapter puts before a sequence, [P, heads, D]. */
    void writePrefix(int layer, int sequence, Tensor keys, Tensor values);

    /** Where the rows are, this call's too. */
    Rows read(int layer);
}
