package org.peft4j.model;

/** What goes into a model: one row for each token, all sequences one behind the other. Other kinds than tokens may come. */
public sealed interface Inputs permits Tokens {
    /** Number of rows. */
    int rows();

    /** Rows [first, last) by themselves. */
    Inputs slice(int first, int last);
}
