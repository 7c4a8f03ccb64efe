package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * How an adapter weighs low-rank updates of its own ({@link LowRankMixture}): anew for each row, by what the model makes of the text
 * in a first pass, before the call itself. Who takes inputs through a model computes that pass ({@link ForwardContext#route}).
 *
 * <p>An adapter that routes has its rows for itself, and reads texts as a whole: what it makes of a row needs the first pass of all
 * rows before it. Closed with its adapter.
 */
public interface Routing extends AutoCloseable {
    /**
     * The weights of the call.
     *
     * @param hidden what the first pass gives behind the final norm, [rows, C], without gradients
     * @param context of the call, for dropout
     * @return [rows, weights], float32; what they are for the claims know
     */
    Tensor weights(Tensor hidden, ForwardContext context);

    /**
     * The weights of all rows while the first pass is computed, [rows, weights]; null where that is the model without the adapter.
     */
    @Nullable
    Tensor firstPass(long rows);

    @Override
    void close();
}
