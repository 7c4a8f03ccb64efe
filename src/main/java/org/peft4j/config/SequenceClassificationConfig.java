package org.peft4j.config;

/**
 * The task of giving each text one label.
 *
 * @param newHead train a new head, also where the model has one already: for other classes than the model's. Without it a
 *     model whose head has another number of outputs than there are labels is refused. A model without a head always gets
 *     a new one
 */
public record SequenceClassificationConfig(boolean newHead) implements TaskConfig {
    public static final String TYPE = "sequence-classification";

    /** The model's own head, where it has one. */
    public static SequenceClassificationConfig defaults() {
        return new SequenceClassificationConfig(false);
    }
}
