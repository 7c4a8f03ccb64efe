package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** Claim of a {@link KeyValuePoint}: ready keys and values that every row of the sequence sees beside its own. */
public non-sealed interface PrefixKeyValues extends KeyValueClaim {
    /**
     * Keys and values in front of the sequence.
     *
     * @param keys [P, heads, head size], or of each sequence its own ({@link SequenceKeyValues}); float32; values alike
     */
    record KeyValues(Tensor keys, Tensor values) {}

    /** The prefix for this forward; the context remembers what all layers share, see {@link ForwardContext#once}. */
    KeyValues keyValues(ForwardContext context);

    @Override
    default boolean shared() {
        return true;
    }
}
