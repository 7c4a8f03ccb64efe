package org.peft4j.lifetime;

import java.io.InterruptedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileLockInterruptionException;
import org.jspecify.annotations.Nullable;

/** Whether something failed because its thread was interrupted: channels are closed under a thread that is. */
public final class Interruption {
    private Interruption() {}

    /** Whether an interrupt is at the bottom of a failure, however it was wrapped. */
    public static boolean caused(@Nullable Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof ClosedByInterruptException
                    || cause instanceof InterruptedIOException
                    || cause instanceof FileLockInterruptionException
                    || cause instanceof InterruptedException) {
                return true;
            }
        }
        return false;
    }
}
