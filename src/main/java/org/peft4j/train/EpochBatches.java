package org.peft4j.train;

import java.util.List;
import java.util.Optional;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.Batches;

/**
 * Which rows form the batches of each epoch of a run. Where a row's loss sees the other rows of its batch, a row that would be
 * alone in the last one is left out of the epoch: its loss were 0 whatever the model does.
 */
public final class EpochBatches {
    private final TrainingConfig training;
    private final int rows;
    private final boolean leavesOneOut;

    /** @param alone whether a row can be learned from alone */
    EpochBatches(TrainingConfig training, int rows, boolean alone) {
        this.training = training;
        this.rows = rows;
        leavesOneOut = !alone && rows % training.batchSize() == 1;
    }

    /** The batches of an epoch (from 0), shuffled if the run wants it. */
    public List<int[]> of(int epoch) {
        return training.shuffle()
                ? learned(Batches.shuffled(rows, training.batchSize(), training.seed(), epoch))
                : inOrder();
    }

    /** The batches in the order of the rows. */
    public List<int[]> inOrder() {
        return learned(Batches.inOrder(rows, training.batchSize()));
    }

    private List<int[]> learned(List<int[]> batches) {
        return leavesOneOut ? batches.subList(0, batches.size() - 1) : batches;
    }

    /** Optimiser steps of the whole run. */
    public long totalSteps() {
        return training.totalSteps(leavesOneOut ? rows - 1 : rows);
    }

    /** What a user should know of it. */
    Optional<String> note() {
        return leavesOneOut
                ? Optional.of(
                        "1 of " + rows + " rows is left out of each epoch: training.batch_size " + training.batchSize()
                                + " would leave it alone in the last batch, and its loss needs other rows")
                : Optional.empty();
    }
}
