package org.peft4j.nn.seam;

/**
 * A table whose rows are taken by index. Claimed by {@link TokenRows}, or by {@link EmbeddingUpdate}s, which add up.
 *
 * @param path such as {@code bert.embeddings.word_embeddings}
 * @param rows number of rows
 * @param width of a row
 * @param words whether tokens are the indexes; else positions or token types
 * @param tied whether the output layer reads the same table
 */
public record EmbeddingPoint(String path, long rows, long width, boolean words, boolean tied)
        implements Point<EmbeddingClaim> {}
