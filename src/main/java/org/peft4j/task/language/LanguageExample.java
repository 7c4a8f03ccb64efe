package org.peft4j.task.language;

import java.util.List;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.task.Example;

/**
 * One text, a prompt with its response, or several of them that were put together; none sees another.
 *
 * @param sequences their tokens
 * @param firsts for each the number of its first token that counts; all behind it count, too
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record LanguageExample(List<Tokens> sequences, int[] firsts, long line) implements Example {
    /** One sequence. The first token has nothing before it from which it could be told, so it never counts. */
    static LanguageExample of(Tokens tokens, int first, long line) {
        return new LanguageExample(List.of(tokens), new int[] {Math.max(1, first)}, line);
    }

    /** How many tokens of a sequence count. */
    int counted(int sequence) {
        return Math.max(0, sequences.get(sequence).tokens().length - firsts[sequence]);
    }

    /** How many tokens count. */
    int counted() {
        int n = 0;
        for (int s = 0; s < firsts.length; s++) {
            n += counted(s);
        }
        return n;
    }

    /** Rows that have to be read of a sequence: those before its counted tokens, and the last one, where rows end. */
    int read(int sequence) {
        return counted(sequence) + 1;
    }
}
