package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.BlockPoint;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;

/** One layer of a transformer. Immutable and safe from many threads. */
public interface Block {
    /** What it gives as a whole; the same object for life. What is claimed there comes behind {@link #forward} ({@link BlockClaims}). */
    BlockPoint point();

    /**
     * @param h hidden states of all rows, [T, C]
     * @param rows which of them are read behind this block
     * @return the read rows, one behind the other: [R, C]
     */
    Tensor forward(Tensor h, ReadRows rows, ForwardContext context);
}
