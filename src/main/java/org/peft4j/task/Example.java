package org.peft4j.task;

import java.util.List;
import org.peft4j.data.TextTokenizer.Tokens;

/** One row, tokenised: what a batch is made of. */
public interface Example {
    /** Its sequences, each of which the model sees by itself. */
    List<Tokens> sequences();

    /** The line of the row in its file, or its number, from 1. */
    long line();

    /** Number of tokens of all sequences. */
    default int tokens() {
        return sequences().stream().mapToInt(tokens -> tokens.tokens().length).sum();
    }

    /** Whether some of the row was left out. */
    default boolean cut() {
        return sequences().stream().anyMatch(Tokens::cut);
    }
}
