package org.peft4j.train;

import java.io.IOException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.peft4j.lifetime.Interruption;

/**
 * Interrupts of the thread that trains. A channel that an interrupted thread reads or writes is closed under it, so an
 * interrupt is noted and cleared before files are touched; {@link #close} gives it back to the thread.
 */
public final class Interrupts implements AutoCloseable {
    private boolean seen;
    private final AtomicBoolean stop;

    /** Interrupts of this thread. */
    public Interrupts() {
        this(new AtomicBoolean());
    }

    private Interrupts(AtomicBoolean stop) {
        this.stop = stop;
    }

    /** Interrupts of this thread, and a stop that any thread may set, which is not given on to the thread. */
    public static Interrupts orStop(AtomicBoolean stop) {
        return new Interrupts(stop);
    }

    /** Writes or reads files; begins anew each time it is called. */
    @FunctionalInterface
    public interface FileWork {
        void run() throws IOException;
    }

    /** Whether an interrupt or a stop has come since this was made. */
    public boolean seen() {
        seen |= Thread.interrupted();
        return seen || stop.get();
    }

    /** As {@link FileWork}, with a result. */
    @FunctionalInterface
    public interface FileSource<T> {
        T get() throws IOException;
    }

    /** Does the work, once more where an interrupt came in between. */
    public void undisturbed(FileWork work) throws IOException {
        undisturbedly(() -> {
            work.run();
            return true;
        });
    }

    /** As {@link #undisturbed}, with a result. */
    public <T> T undisturbedly(FileSource<T> work) throws IOException {
        while (true) {
            seen();
            try {
                return work.get();
            } catch (IOException | RuntimeException e) {
                if (!Interruption.caused(e)) {
                    throw e;
                }
            }
        }
    }

    @Override
    public void close() {
        seen();
        if (seen) {
            Thread.currentThread().interrupt();
        }
    }
}
