package org.peft4j.data.tokenizer;

/** One decoder: makes texts of tokens, which are the next one's tokens. Holds no state; what it makes for one run does. */
interface DecodeStep {
    /** Takes tokens one after the other, and gives on what is certain. */
    interface Sink {
        void token(String token);

        void end();
    }

    /**
     * Begins a run.
     *
     * @param next takes what this step makes
     * @param pieces whether what comes are pieces of one single token; only if {@link #takesPieces}
     */
    Sink before(Sink next, boolean pieces);

    /** Whether what it makes is one single token, given in pieces. */
    default boolean fuses() {
        return false;
    }

    /** Whether it need not wait for the whole of a token that comes in pieces. */
    default boolean takesPieces() {
        return false;
    }
}
