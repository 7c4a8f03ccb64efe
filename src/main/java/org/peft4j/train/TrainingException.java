package org.peft4j.train;

/** Training cannot go on, through no fault of the settings' form: a loss that is not finite, for example. */
public final class TrainingException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public TrainingException(String message) {
        super(message);
    }
}
