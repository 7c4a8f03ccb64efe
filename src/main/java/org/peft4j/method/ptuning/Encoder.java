package org.peft4j.method.ptuning;

/** The network that makes the rows. */
public enum Encoder {
    /** Three linear layers with ReLU between them. */
    MLP,
    /** A bidirectional LSTM over the rows, and two linear layers with ReLU between them. */
    LSTM
}
