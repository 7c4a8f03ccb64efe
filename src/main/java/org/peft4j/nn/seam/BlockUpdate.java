package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/** Claim of a {@link BlockPoint}: rows in place of the block's. */
@FunctionalInterface
public interface BlockUpdate {
    /**
     * What stands behind the block.
     *
     * @param h what the block gives, or what the claims before this one made of it, [T, C]
     * @param rows of which sequences these T are, and which of their rows: behind the last block those that somebody reads, unless the
     *     adapter asks for all ({@link Adapter.Builder#readsAllRows})
     * @return [T, C] of h's type; h itself where nothing changes
     */
    Tensor apply(Tensor h, SequenceRows rows, ForwardContext context);
}
