package org.peft4j.error;

import org.jspecify.annotations.Nullable;

/**
 * A setting is wrong: an unknown key, a value of the wrong type or out of range, a missing one, or one that does not fit
 * the model, the data or the adapter. The message says what was expected, what came, in which file and line, and what to
 * do; the command line prints it and ends with status 2.
 */
public final class ConfigException extends Peft4jException {
    private static final long serialVersionUID = 1L;

    /** With what was expected, what came, where, and what to do. */
    public ConfigException(String message) {
        this(message, null);
    }

    /** The same, and what brought it to light. */
    public ConfigException(String message, @Nullable Throwable cause) {
        super(message, cause);
    }
}
