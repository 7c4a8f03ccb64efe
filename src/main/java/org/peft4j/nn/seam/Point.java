package org.peft4j.nn.seam;

/** A place in a backbone where a method may act, known by its Hugging Face path. */
public sealed interface Point permits LinearPoint, KeyValuePoint, TensorPoint {
    String path();
}
