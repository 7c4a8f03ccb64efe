package org.peft4j.run;

import java.time.Instant;
import org.jspecify.annotations.Nullable;

/**
 * How a run ended.
 *
 * @param status whether it came to its end
 * @param finished when
 * @param steps optimiser steps done
 * @param tokens tokens trained on
 * @param seconds time of training, evaluation included
 * @param message why it failed, or, of one that did not, what could not be written beside the adapter; else null
 */
public record RunResult(
        Status status,
        Instant finished,
        long steps,
        long tokens,
        double seconds,
        @Nullable String message) {
    /** The ways to end. */
    public enum Status {
        /** All steps were done. */
        FINISHED,
        /** It was stopped after a step; the adapter of that step is saved, none before the first. */
        INTERRUPTED,
        /** Something went wrong; the adapter of an earlier step may be saved. */
        FAILED
    }

    /** The same with another message. */
    public RunResult withMessage(@Nullable String text) {
        return new RunResult(status, finished, steps, tokens, seconds, text);
    }

    /** Tokens by the seconds of training; 0 where there were none. */
    public double tokensPerSecond() {
        return seconds > 0 ? tokens / seconds : 0;
    }
}
