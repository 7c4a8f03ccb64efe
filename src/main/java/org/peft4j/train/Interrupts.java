package org.peft4j.train;

import java.io.IOException;
import org.peft4j.lifetime.Interruption;

/**
 * Interrupts of the thread that trains. A channel that an interrupted thread reads or writes is closed under it, so an
 * interrupt is noted and cleared before files are touched; {@link #close} gives it back to the thread.
 */
public final class Interrupts implements AutoCloseable {
    private boolean seen;

    /** Writes or reads files; begins anew each time it is called. */
    @FunctionalInterface
    public interface FileWork {
        void run() throws IOException;
    }

    /** Whether an interrupt has come since this was made. */
    public boolean seen() {
        seen |= Thread.interrupted();
        return seen;
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
        if (seen()) {
            Thread.currentThread().interrupt();
        }
    }
}
