package org.peft4j.cli;

import java.io.PrintStream;
import java.util.concurrent.CountDownLatch;
import org.peft4j.run.RunSummary;
import org.peft4j.run.TrainListener;

/**
 * Ctrl-C (or a plain kill) during training: the run ends after the current step with its adapter saved, and only then
 * the process; its exit status is then 130 (143 after kill), as the system has it for these signals. A second Ctrl-C
 * ends it at once. Before the first step there is nothing to save, and nothing is waited for.
 *
 * <p>Made on the training thread; {@link #close} lets a waiting process end.
 */
final class GracefulStop implements TrainListener, AutoCloseable {
    private final Thread trainer = Thread.currentThread();
    private final CountDownLatch done = new CountDownLatch(1);
    private final Thread hook = new Thread(this::stop, "peft4j-stop");
    private final PrintStream err;
    private volatile boolean started;

    GracefulStop(PrintStream err) {
        this.err = err;
        Runtime.getRuntime().addShutdownHook(hook);
    }

    @Override
    public void started(RunSummary run) {
        started = true;
    }

    private void stop() {
        if (!started) {
            err.println("\ninterrupted; nothing was written");
            return;
        }
        // while the process ends, Java ignores further signals
        InterruptSignal.to(() -> Runtime.getRuntime().halt(Failure.INTERRUPTED));
        err.println("\nstopping after this step, then saving; Ctrl-C again ends at once");
        trainer.interrupt();
        try {
            done.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        done.countDown();
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // the process is ending, and the hook waited for us
        }
    }
}
