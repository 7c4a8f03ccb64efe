package org.peft4j.task.tagging;

import java.util.List;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.task.Example;

/**
 * Words and their tags.
 *
 * @param text the words' tokens
 * @param firstOf for each word the number of its first token, or -1 where it was cut or has none
 * @param labels for each word its tag's number; empty where they are not known
 * @param task of the adapter's tasks the row's, or none
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record TaggedExample(Tokens text, int[] firstOf, int[] labels, int task, long line) implements Example {
    static final int[] NONE = {};

    @Override
    public int task(int sequence) {
        return task;
    }

    @Override
    public List<Tokens> sequences() {
        return List.of(text);
    }

    /** Number of words whose tag is read from a token. */
    int tagged() {
        int n = 0;
        for (int first : firstOf) {
            n += first < 0 ? 0 : 1;
        }
        return n;
    }
}
