package org.peft4j.model;

/** What kind of output a head gives. */
public enum HeadKind {
    /** Some numbers for each sequence. */
    SEQUENCE("sequence classification"),
    /** Some numbers for each row. */
    TOKENS("token classification"),
    /** The next token of each row. */
    LANGUAGE("language modelling"),
    /** The hidden states themselves. */
    NONE("embeddings");

    private final String words;

    HeadKind(String words) {
        this.words = words;
    }

    /** In words, for messages. */
    public String words() {
        return words;
    }
}
