package org.peft4j.error;

import org.jspecify.annotations.Nullable;

/**
 * Something that the caller, a file or the machine got wrong, in words meant for people: what was expected, what came,
 * where, and what to do. Each kind is a class of its own:
 *
 * <ul>
 *   <li>{@link ConfigException}: a setting does not fit;
 *   <li>{@link MalformedFileException}: a file is there but is not what its format says, or does not fit the others;
 *   <li>{@link TrainingException}: computing went wrong, a loss that is not finite for example;
 *   <li>{@link DeviceException}: a native operation failed, out of memory for example.
 * </ul>
 *
 * Beside these, methods throw {@link java.io.IOException} where the file system fails, {@link IllegalArgumentException}
 * for an argument that is wrong by itself, and {@link IllegalStateException} for a call at the wrong time (after
 * {@code close()}).
 */
public abstract sealed class Peft4jException extends RuntimeException
        permits ConfigException, MalformedFileException, TrainingException, DeviceException {
    private static final long serialVersionUID = 1L;

    Peft4jException(String message, @Nullable Throwable cause) {
        super(message, cause);
    }
}
