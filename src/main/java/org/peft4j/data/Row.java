package org.peft4j.data;

import java.nio.file.Path;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One row of a data file.
 *
 * @param text the text column
 * @param label the label column as text; null if no label was asked for
 * @param fields every column in the order of the file, so that a prediction can repeat the row
 * @param file where the row comes from
 * @param line the line it begins at, from 1
 */
public record Row(String text, @Nullable String label, Map<String, @Nullable Object> fields, Path file, long line) {
    /** {@code "train.jsonl, line 12"} for messages. */
    public String where() {
        return file + ", line " + line;
    }
}
