package org.peft4j.model;

import org.jspecify.annotations.Nullable;

/**
 * What a model is, as its config says.
 *
 * @param modelType {@code model_type}, such as {@code bert}
 * @param encoder the stack whose rows see all of their sequence, or null
 * @param decoder the stack whose rows see what is before them, or null
 * @param maxPositions positions that it was made for
 * @param limited whether longer sequences are impossible (positions learned as a table) or only untried (rotary)
 * @param vocabulary token numbers are below this
 */
public record ModelInfo(
        String modelType,
        @Nullable Stack encoder,
        @Nullable Stack decoder,
        int maxPositions,
        boolean limited,
        int vocabulary) {
    /**
     * The sizes of a stack of blocks.
     *
     * @param hiddenSize width of its rows
     * @param layers number of blocks
     * @param queryHeads heads of queries in a block
     * @param keyValueHeads heads of keys and values, which queries may share
     * @param headSize width of a head
     */
    public record Stack(long hiddenSize, int layers, long queryHeads, long keyValueHeads, long headSize) {}

    /** The stack whose rows come out of the model. */
    public Stack output() {
        Stack last = decoder == null ? encoder : decoder;
        if (last == null) {
            throw new IllegalStateException("a model has an encoder or a decoder");
        }
        return last;
    }

    /** Whether a row sees only what is before it. */
    public boolean causal() {
        return decoder != null;
    }
}
