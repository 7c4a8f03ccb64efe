package org.peft4j.cli;

import java.io.PrintStream;
import java.lang.reflect.Proxy;
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
        endAtSecondSignal();
        err.println("\nstopping after this step, then saving; Ctrl-C again ends at once");
        trainer.interrupt();
        try {
            done.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /**
     * While the process ends, Java ignores further signals; only {@code sun.misc.Signal} can listen to them. Where it is
     * missing, a second Ctrl-C waits as the first.
     */
    private static void endAtSecondSignal() {
        try {
            Class<?> signal = Class.forName("sun.misc.Signal");
            Class<?> handler = Class.forName("sun.misc.SignalHandler");
            Object halt = Proxy.newProxyInstance(
                    GracefulStop.class.getClassLoader(), new Class<?>[] {handler}, (proxy, method, arguments) -> {
                        Runtime.getRuntime().halt(Failure.INTERRUPTED);
                        return null;
                    });
            signal.getMethod("handle", signal, handler)
                    .invoke(null, signal.getConstructor(String.class).newInstance("INT"), halt);
        } catch (ReflectiveOperationException | IllegalArgumentException e) {
            // then not
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
