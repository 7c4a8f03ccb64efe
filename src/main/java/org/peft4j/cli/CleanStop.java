package org.peft4j.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Ctrl-C (or a plain kill) while a command writes a file or directory: the command's thread is interrupted, which fails the
 * writing, so that temporary files are deleted before the process ends.
 */
final class CleanStop implements AutoCloseable {
    private static final long SECONDS_TO_CLEAN = 10;

    private final Thread worker = Thread.currentThread();
    private final CountDownLatch done = new CountDownLatch(1);
    private final Thread hook = new Thread(this::stop, "peft4j-stop");

    CleanStop() {
        Runtime.getRuntime().addShutdownHook(hook);
    }

    private void stop() {
        worker.interrupt();
        try {
            if (!done.await(SECONDS_TO_CLEAN, TimeUnit.SECONDS)) {
                return; // a temporary file may stay, under its telling name
            }
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
