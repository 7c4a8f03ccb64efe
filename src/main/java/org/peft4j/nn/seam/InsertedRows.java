package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** Claim of a {@link SequencePoint}: rows before each text, in place of embedded words; they take positions as words do. */
public interface InsertedRows {
    /** Number of rows. */
    int count();

    /** The rows, [count, C], float32. */
    Tensor rows();
}
