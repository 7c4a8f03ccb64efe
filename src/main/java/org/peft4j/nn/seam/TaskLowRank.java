package org.peft4j.nn.seam;

import java.util.List;

/**
 * Claim of a {@link LinearPoint}: a {@link LowRank} update whose A and B depend on the task of the sequence. It is asked once for all
 * sequences of an adapter, so that what they have in common is computed once.
 */
@FunctionalInterface
public non-sealed interface TaskLowRank extends LinearClaim {
    /**
     * The updates of some sequences.
     *
     * @param sequences their numbers in the call, in order
     * @param tasks the task of each, {@link RowTasks#NONE} of those that say none
     * @param context of the call: while training A and B may be drawn, by its seed and the sequence's number
     * @return one for each sequence; neighbours that have the same object are computed together
     */
    List<LowRank> updates(int[] sequences, int[] tasks, ForwardContext context);
}
