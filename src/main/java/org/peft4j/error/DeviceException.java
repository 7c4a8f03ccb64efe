package org.peft4j.error;

import org.jspecify.annotations.Nullable;

/** A native operation failed: out of memory, a device error. The message is the native one without its stack. */
public final class DeviceException extends Peft4jException {
    private static final long serialVersionUID = 1L;

    /** With the native message, and its cause. */
    public DeviceException(String message, @Nullable Throwable cause) {
        super(message, cause);
    }
}
