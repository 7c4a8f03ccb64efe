package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** Claim of an {@link EmbeddingPoint}: something that is added to the rows that were taken. */
@FunctionalInterface
public non-sealed interface EmbeddingUpdate extends EmbeddingClaim {
    /**
     * What is added.
     *
     * @param indexes int64 [T]
     * @return [T, C], float32
     */
    Tensor of(Tensor indexes);
}
