package org.peft4j.method.ptuning;

/** The network that makes the rows. */
public enum Encoder {
    /** Three linear layers with ReLU between them. */
    MLP,
    /** A bidirectional LSTM and two linear layers; known by name, not offered. */
    LSTM
}
