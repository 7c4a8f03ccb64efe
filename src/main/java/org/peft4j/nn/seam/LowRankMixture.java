package org.peft4j.nn.seam;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link LinearPoint}: {@code y += Σ_e w_e ∘ (scale_e B_e A_e dropout_e(x))}, where the routing gives each row its weights
 * w.
 */
public non-sealed interface LowRankMixture extends LinearClaim {
    /**
     * One of the updates.
     *
     * @param expert number of its weight
     */
    record Part(int expert, LowRank update) {}

    /** What gives the weights; the adapter's own. */
    Routing routing();

    /** The updates of this layer; not every expert needs to have one. */
    List<Part> parts();

    /**
     * This layer's weights.
     *
     * @param all the routing's, [T, weights]
     * @return [T, experts]
     */
    Tensor weights(Tensor all);
}
