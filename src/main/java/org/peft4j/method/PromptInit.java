package org.peft4j.method;

/** How the rows of a prompt begin. */
public enum PromptInit {
    /** Normal with standard deviation 1, as an embedding of torch. */
    RANDOM,
    /** The embedded tokens of a text, repeated or cut to the number of rows. */
    TEXT,
    /** The embeddings of tokens drawn from the vocabulary. */
    SAMPLE_VOCAB
}
