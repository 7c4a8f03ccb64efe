package org.peft4j.task;

import java.util.List;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.nn.seam.RowTasks;

/** One row, tokenised: what a batch is made of. */
public interface Example {
    /** Its sequences, each of which the model sees by itself. */
    List<Tokens> sequences();

    /** The line of the row in its file, or its number, from 1. */
    long line();

    /** The line of the row that a sequence is of. */
    default long line(int sequence) {
        return line();
    }

    /** Which of an adapter's tasks a sequence is of; {@link RowTasks#NONE}: nothing is said. */
    default int task(int sequence) {
        return RowTasks.NONE;
    }

    /** Number of tokens of all sequences. */
    default int tokens() {
        return sequences().stream().mapToInt(tokens -> tokens.tokens().length).sum();
    }

    /** Whether some of the row was left out. */
    default boolean cut() {
        return sequences().stream().anyMatch(Tokens::cut);
    }
}
