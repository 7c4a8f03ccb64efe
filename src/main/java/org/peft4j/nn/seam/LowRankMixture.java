package org.peft4j.nn.seam;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link LinearPoint}: {@code y += Σ_e w_e ∘ (scale_e B_e A_e dropout_e(x))}, with weights w of each row: those
 * that the adapter's {@link Routing} gives, or what it makes of x itself, such as a gate.
 */
public non-sealed interface LowRankMixture extends LinearClaim {
    /**
     * One of the updates.
     *
     * @param expert number of its weight
     */
    record Part(int expert, LowRank update) {}

    /** The updates of this layer; not every expert needs to have one. */
    List<Part> parts();

    /**
     * The rows' weights.
     *
     * @param x what the layer reads of some sequences, [T, in]
     * @param rows which of these T are of which sequence
     * @return [T, experts], float32
     */
    Tensor weights(Tensor x, SequenceRows rows, ForwardContext context);
}
