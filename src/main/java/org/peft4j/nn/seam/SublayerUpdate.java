package org.peft4j.nn.seam;

import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;

/** Claim of a {@link SublayerPoint}: rows in place of the sublayer's. */
@FunctionalInterface
public interface SublayerUpdate {
    /**
     * What the block has at this place, all [T, C] of the activations' type.
     *
     * @param input what the sublayer read
     * @param output what it gives (dropout done), or what the claims before this one made of it
     * @param residual what goes around it
     * @param norm the block's frozen norm of {@code x + residual}; where norms stand before the sublayers, the sum alone
     * @param rows of which sequences these T are; all of them, if the adapter says so ({@link Adapter.Builder#readsAllRows})
     */
    record Sublayer(Tensor input, Tensor output, Tensor residual, UnaryOperator<Tensor> norm, SequenceRows rows) {}

    /**
     * In place of the output, [T, C] of its type; the block adds the residual to it (and norms the sum) as ever, but see
     * {@link #behindNorm}.
     */
    Tensor apply(Sublayer at, ForwardContext context);

    /**
     * Whether what {@link #apply} gives is all that the sublayer gives: the block adds nothing to it and norms nothing. Only at points with
     * {@link SublayerPoint#normBehind}, and alone there.
     */
    default boolean behindNorm() {
        return false;
    }
}
