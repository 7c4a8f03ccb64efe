package org.peft4j.run;

import java.nio.file.Path;
import org.peft4j.metrics.Evaluation;

/**
 * Hears how training goes; for progress bars, logs, early decisions. Called on the training thread, between steps: a
 * slow listener slows training, and an exception ends the run, with the adapter of the last step saved.
 */
public interface TrainListener {
    /** Everything is loaded and the first step is about to begin. */
    default void started(RunSummary run) {}

    /**
     * An optimiser step is done.
     *
     * @param totalSteps of the whole run
     */
    default void step(StepMetrics metrics, long totalSteps) {}

    /**
     * An evaluation is done.
     *
     * @param split what was evaluated: {@code "validation"}, {@code "test"}
     * @param step optimiser steps done
     */
    default void evaluated(String split, long step, Evaluation evaluation) {}

    /** The adapter was saved, whole, in this directory. */
    default void saved(Path directory) {}

    /** The run is over and its files are written. */
    default void finished(RunResult result) {}
}
