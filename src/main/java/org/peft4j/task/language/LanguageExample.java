package org.peft4j.task.language;

import java.util.List;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.task.Example;

/**
 * One text, a prompt with its response, or several of them that were put together; none sees another.
 *
 * @param sequences their tokens
 * @param firsts for each the number of its first token that counts, from 0; all behind it count, too. Token 0 can be told
 *     from a row that an adapter inserts before it alone, and counts nowhere else
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record LanguageExample(List<Tokens> sequences, int[] firsts, long line) implements Example {
    /** One sequence. */
    static LanguageExample of(Tokens tokens, int first, long line) {
        return new LanguageExample(List.of(tokens), new int[] {first}, line);
    }

    /**
     * The first token of a sequence that counts.
     *
     * @param inserted rows that adapters insert before it
     */
    int first(int sequence, int inserted) {
        return Math.max(inserted > 0 ? 0 : 1, firsts[sequence]);
    }

    /** How many tokens count, where so many rows are inserted before each sequence. */
    int counted(int inserted) {
        int n = 0;
        for (int s = 0; s < firsts.length; s++) {
            n += Math.max(0, sequences.get(s).tokens().length - first(s, inserted));
        }
        return n;
    }
}
