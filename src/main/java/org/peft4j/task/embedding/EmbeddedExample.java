package org.peft4j.task.embedding;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.task.Example;

/**
 * A text, or two that belong together.
 *
 * @param positive the other text, or null
 * @param score how alike they are, where that is known; else NaN
 * @param task of the adapter's tasks the row's, or none
 */
record EmbeddedExample(Tokens text, @Nullable Tokens positive, float score, int task, long line) implements Example {
    @Override
    public int task(int sequence) {
        return task;
    }

    @Override
    public List<Tokens> sequences() {
        return positive == null ? List.of(text) : List.of(text, positive);
    }
}
