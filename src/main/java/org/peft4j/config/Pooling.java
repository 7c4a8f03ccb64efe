package org.peft4j.config;

/** Which hidden states become the embedding of a text. */
public enum Pooling {
    /** The mean of all its tokens'. */
    MEAN,
    /** That of its first token, the class token of BERT. */
    FIRST,
    /** That of its last token, the only one that has seen the whole text in a language model. */
    LAST
}
