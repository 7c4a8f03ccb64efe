package org.peft4j.train;

/** What a model is trained to do. */
public enum Task {
    /** One label for each text. */
    SEQUENCE_CLASSIFICATION
}
