package org.peft4j.nn.seam;

/**
 * The front of a sequence, as the model's first layer sees it. Claimed by {@link InsertedRows}, those of several adapters one
 * behind the other.
 *
 * @param path the module that makes the rows of the text, such as {@code bert.embeddings}
 * @param width of a row
 */
public record SequencePoint(String path, long width) implements Point<InsertedRows> {}
