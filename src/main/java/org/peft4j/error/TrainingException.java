package org.peft4j.error;

/** Computing cannot go on, through no fault of the settings' form: a loss or an output that is not finite, for example. */
public final class TrainingException extends Peft4jException {
    private static final long serialVersionUID = 1L;

    /** With what went wrong, and where. */
    public TrainingException(String message) {
        super(message, null);
    }
}
