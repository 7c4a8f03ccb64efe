package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link SequencePoint}: something that is added to the embedded words of each text, by their places in the text. Of a
 * text that grows token by token the first call's words get it, those that come behind them do not.
 */
public non-sealed interface PositionUpdate extends SequenceClaim {
    /** Number of places that there are rows for: the most tokens that a text may have. */
    int longest();

    /**
     * What is added at the first places.
     *
     * @param count number of places, at most {@link #longest}
     * @return [count, C], float32
     */
    Tensor rows(int count);
}
