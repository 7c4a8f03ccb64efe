package org.peft4j.nn.seam;

/** Which rows of each sequence somebody reads behind a block. What nobody reads is not computed. */
public enum Rows {
    ALL,
    /** The first row of each sequence, where classifiers pool. */
    FIRST
}
