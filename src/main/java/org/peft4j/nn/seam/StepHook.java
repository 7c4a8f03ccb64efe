package org.peft4j.nn.seam;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;

/**
 * What an adapter asks of each optimiser step of a run that trains it. An adapter has one such object for life; it belongs to one
 * run at a time, and to its thread. In a step, in this order:
 *
 * <pre>
 * forward and backward of each micro-batch
 * {@link #penalty}          once, however many micro-batches there are; its gradient is added to theirs
 * {@link #beforeClipping}
 * gradients are unscaled (float16), then clipped together
 * {@link #beforeOptimizer}  the optimiser  {@link #afterOptimizer}  {@link #startsAnew}
 * gradients are taken away
 * </pre>
 *
 * <p>A step that is left out because its gradients overflowed in float16 calls none of the last three; its number is not given again.
 * Gradients are {@code parameter.value().grad()}, float32, undefined where no row of the step reached the parameter. Nothing here may wait
 * for a card, so that steps can be begun ahead: what is decided from gradients stays in tensors there. Whatever is made runs in a
 * scope that is closed behind the call; what is kept has to be taken out of it ({@link org.peft4j.nn.Scopes#owned}).
 */
public interface StepHook extends AutoCloseable {
    /**
     * A step.
     *
     * @param number of optimiser steps with this one, from 1
     * @param totalSteps that the run will make
     */
    record Step(long number, long totalSteps) {}

    /**
     * Before the first step, when the length of the run is known; forgets what a former run left.
     *
     * @return what a user should know
     * @throws IllegalArgumentException if the settings do not fit a run of this length; the message begins with a setting's name
     */
    default List<String> begin(long totalSteps) {
        return List.of();
    }

    /** What is added to the step's loss, a float32 scalar whose gradient reaches the parameters; the loss that is told has it, too. */
    default Optional<Tensor> penalty() {
        return Optional.empty();
    }

    /** Behind backward: gradients are whole, of float16 not unscaled; may change them in place. */
    default void beforeClipping() {}

    /** Behind clipping; may change gradients in place. */
    default void beforeOptimizer(Step step) {}

    /** Behind the optimiser; the gradients that it used are still there. May change parameters in place. */
    default void afterOptimizer(Step step) {}

    /**
     * Whether the optimiser begins anew with the next step: moments and numbers of steps of all parameters are forgotten. Behind
     * {@link #afterOptimizer}.
     */
    default boolean startsAnew(Step step) {
        return false;
    }

    /**
     * How many numbers have a gradient, and moments of the optimiser, at the same time.
     *
     * @param all that the adapter has
     */
    default long trainedAtOnce(long all) {
        return all;
    }

    /**
     * What has to be kept, beside parameters and the optimiser's moments, for a run to go on to the same bits: float32 tensors by
     * name. They belong to the hook and change with the next step.
     */
    default Map<String, Tensor> state() {
        return Map.of();
    }

    /**
     * Takes a copy of what {@link #state} gave, on any device; behind {@link #begin}.
     *
     * @throws IllegalArgumentException if a name or a shape is not this hook's
     */
    default void restore(Map<String, Tensor> state) {
        if (!state.isEmpty()) {
            throw new IllegalArgumentException("the adapter keeps nothing between steps, got " + state.keySet());
        }
    }

    /** Frees its tensors; with the adapter. */
    @Override
    default void close() {}
}
