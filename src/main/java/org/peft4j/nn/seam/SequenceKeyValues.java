package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link KeyValuePoint}: ready keys and values in front of each sequence, of each its own, that depend on what attention reads
 * of it, such as a prefix with a gate. A cache does not keep them: each call makes them of its own rows.
 */
public non-sealed interface SequenceKeyValues extends KeyValueClaim {
    /**
     * Keys and values in front of these sequences.
     *
     * @param x what their attention reads in this call, [T, C]; where norms stand before sublayers, normed
     * @param rows which of these T are of which sequence
     * @return each [sequences, P, heads, head size], float32
     */
    PrefixKeyValues.KeyValues keyValues(Tensor x, SequenceRows rows, ForwardContext context);

    @Override
    default boolean shared() {
        return false;
    }

    @Override
    default boolean cached() {
        return false;
    }
}
