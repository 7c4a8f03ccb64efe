package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * A {@link SublayerUpdate} that adds something to a residual, so that others can mix what several of them add
 * ({@link SublayerFusion}): {@code apply} gives {@link #around} and what it makes of {@link #added}.
 */
public interface SublayerAddition extends SublayerUpdate {
    /** The rows that it reads, [T, C] of the activations' type. */
    Tensor read(Sublayer at);

    /**
     * What it adds, without a gate and what acts while training alone, [T, C], float32.
     *
     * @param read what {@link #read} gave, of this one or of one with the same {@link #place}
     */
    Tensor added(Sublayer at, Tensor read);

    /**
     * What it is added to, [T, C] of the activations' type.
     *
     * @param read as in {@link #added}
     */
    Tensor around(Sublayer at, Tensor read);

    /** Equal for those that read the same rows and are added to the same. */
    Object place();
}
