package org.peft4j.task;

import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Row;
import org.peft4j.data.TextTokenizer;

/**
 * A row as it will be trained.
 *
 * @param rendered its text
 * @param ids the tokens that are read, of all its sequences
 * @param trained for each of them 1 where it carries loss, else 0; null where that cannot be told
 * @param note why not, or what else a user should know; null for nothing
 */
public record ShownRow(
        String rendered,
        List<Integer> ids,
        @Nullable List<Integer> trained,
        @Nullable String note) {
    /** Shows rows. */
    @FunctionalInterface
    public interface Viewer {
        /** @param tokenizer cuts where rows are cut in training */
        List<ShownRow> show(List<Row> rows, TextTokenizer tokenizer);
    }

    /** A row whose loss is of the whole, not of tokens. */
    public static ShownRow whole(String rendered, int[] ids, String note) {
        return new ShownRow(rendered, boxed(ids), null, note);
    }

    /** Numbers as a list. */
    public static List<Integer> boxed(int[] numbers) {
        return Arrays.stream(numbers).boxed().toList();
    }
}
