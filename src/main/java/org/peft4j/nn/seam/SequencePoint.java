package org.peft4j.nn.seam;

/**
 * The embedded words of a sequence, as the model's first layer sees them. Claimed by {@link InsertedRows} at their front, those of
 * several adapters one behind the other, by {@link PositionUpdate}s, which add up, and by one {@link EmbeddedUpdate}, which acts behind
 * everything that the model's embedding layer does to them.
 *
 * @param path the module that makes the rows of the text, such as {@code bert.embeddings}
 * @param words the table that the rows are taken from
 * @param scale factor of the table's rows, 1 in most models
 */
public record SequencePoint(String path, EmbeddingPoint words, double scale) implements Point<SequenceClaim> {
    /** Width of a row. */
    public long width() {
        return words.width();
    }
}
