package org.peft4j.io;

/**
 * A setting is wrong: an unknown key, a value of the wrong type or out of range, a missing one. The message says what
 * was expected, what came, in which file and line, and what to do; the command line prints it and ends with status 2.
 */
public class ConfigException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    public ConfigException(String message) {
        super(message);
    }

    public ConfigException(String message, Throwable cause) {
        super(message, cause);
    }
}
