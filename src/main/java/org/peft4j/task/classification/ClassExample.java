package org.peft4j.task.classification;

import java.util.List;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.task.Example;

/**
 * A text, or a pair of texts, and what is right.
 *
 * @param label number of the class, or -1 where that is not it, or not known
 * @param values what the outputs should be: the number of a regression, 0 or 1 for each label; empty otherwise
 * @param task of the adapter's tasks the row's, or none
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record ClassExample(Tokens text, int label, float[] values, int task, long line) implements Example {
    static final float[] NONE = {};

    @Override
    public int task(int sequence) {
        return task;
    }

    @Override
    public List<Tokens> sequences() {
        return List.of(text);
    }
}
