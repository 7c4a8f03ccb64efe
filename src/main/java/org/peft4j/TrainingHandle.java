package org.peft4j;

import java.io.IOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.peft4j.run.RunResult;

/** A run in the background. Safe from many threads. */
public final class TrainingHandle {
    private final AtomicBoolean stop;
    private final CompletableFuture<RunResult> result;

    TrainingHandle(AtomicBoolean stop, CompletableFuture<RunResult> result) {
        this.stop = stop;
        this.result = result;
    }

    /** Ends the run after its current step, with its adapter saved; does not wait. Of no effect on a run that has ended. */
    public void stop() {
        stop.set(true);
    }

    /** Whether the run has ended, in whichever way. */
    public boolean isDone() {
        return result.isDone();
    }

    /**
     * Waits for the end.
     *
     * @throws IOException as {@link Trainer#train()}, and its runtime exceptions
     */
    public RunResult join() throws IOException {
        try {
            return result.join();
        } catch (CompletionException e) {
            if (e.getCause() instanceof IOException cause) {
                throw cause;
            }
            if (e.getCause() instanceof RuntimeException cause) {
                throw cause;
            }
            if (e.getCause() instanceof Error cause) {
                throw cause;
            }
            throw e;
        }
    }

    /** The result when the run ends, for chaining; completing or cancelling it does not touch the run. */
    public CompletableFuture<RunResult> result() {
        return result.copy();
    }
}
