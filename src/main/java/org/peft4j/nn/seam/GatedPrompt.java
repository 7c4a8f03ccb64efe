package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link KeyValuePoint}: rows of hidden states that are the same for all sequences. The block's projections make keys and
 * values of them, without its norm and without a rotation; {@code gate · softmax(q keysᵀ / √head size) values}, a softmax of its own
 * without dropout, is added to what attention gives.
 */
public non-sealed interface GatedPrompt extends KeyValueClaim {
    /** [P, C], float32. */
    Tensor rows();

    /** One number, float32. */
    Tensor gate();

    /** Whether it is added behind the block's output projection, where heads · head size is C; else before it. */
    boolean behindOutput();

    /** None: it has a softmax of its own. */
    @Override
    default int count() {
        return 0;
    }

    @Override
    default boolean shared() {
        return true;
    }
}
