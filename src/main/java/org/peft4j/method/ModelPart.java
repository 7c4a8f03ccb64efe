package org.peft4j.method;

/** A part of a model, where it itself is trained. */
public enum ModelPart {
    /** What stands before the first block: tables of words, positions and types, and their norm. A head that is tied to a table goes with it. */
    EMBEDDINGS,
    /** The blocks. */
    BLOCKS,
    /** What of the backbone stands behind the last block: a norm, a pooler. */
    FINAL,
    /** What gives the outputs. A table that is tied to it goes with it. */
    HEAD
}
