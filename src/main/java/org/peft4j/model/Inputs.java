package org.peft4j.model;

import org.peft4j.nn.seam.ForwardContext;

/** What goes into a model: one row for each token, all sequences one behind the other. Other kinds than tokens may come. */
public sealed interface Inputs permits Tokens {
    /** Number of rows. */
    int rows();

    /** Says to a call what it reads, before anything is computed. */
    void tell(ForwardContext context);

    /** Rows [first, last) by themselves. */
    Inputs slice(int first, int last);
}
