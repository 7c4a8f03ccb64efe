package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link KeyValuePoint}: rows of hidden states, of each sequence its own, that are made of what the block reads. The
 * block makes keys and values of them as of its own rows (its norm before attention, its projections, its norm of keys), and every
 * row of the sequence sees them. A window never hides them.
 */
public non-sealed interface HiddenPrefix extends KeyValueClaim {
    /**
     * @param h what the block reads of some sequences, [T, C]
     * @param packing how it lies
     * @param instruction [T], bool, on the CPU: which rows belong to the sequences' instructions
     * @return [sequences, count, C], of h's type
     */
    Tensor rows(Tensor h, Packing packing, Tensor instruction);

    /** Whether a rotary embedding turns their keys, by the positions 0, 1, …; the text's positions begin behind them then. */
    boolean turned();

    /**
     * Whether they go through the block as rows of the sequence do, and what comes out of them is thrown away. It changes no result.
     * Where there is a cache they do not.
     */
    boolean throughTheBlock();

    @Override
    default boolean shared() {
        return false;
    }
}
