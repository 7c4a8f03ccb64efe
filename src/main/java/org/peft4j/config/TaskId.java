package org.peft4j.config;

import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Which of an adapter's tasks rows are of (PEFT's {@code task_ids}): a column says it of each row, or all are of one. In run files a
 * text is a column's name, a whole number the number of all rows' task.
 *
 * @param column name of the column with the number of each row's task, from 0; null: all rows are of one
 * @param number the task of all rows, where there is no column; else 0
 */
public record TaskId(@Nullable String column, int number) {
    private static final Pattern DIGITS = Pattern.compile("[0-9]{1,9}");

    public TaskId {
        if (column != null) {
            Checks.column(column, "taskId");
            if (DIGITS.matcher(column).matches()) {
                throw new IllegalArgumentException("taskId must name a column whose name is no number, which would be"
                        + " that of all rows' task, got '" + column + "'; rename the column");
            }
            if (number != 0) {
                throw new IllegalArgumentException("taskId is a column or a number, got both");
            }
        }
        Checks.atLeast(0, number, "taskId");
    }

    /** A column says it. */
    public static TaskId column(String name) {
        return new TaskId(name, 0);
    }

    /** All rows are of this task. */
    public static TaskId of(int number) {
        return new TaskId(null, number);
    }

    /** What a file or an option says: digits are a number, all else a column's name. */
    public static TaskId parse(String text) {
        return DIGITS.matcher(text).matches() ? of(Integer.parseInt(text)) : column(text);
    }

    /** As files have it: the name or the number. */
    public Object toTree() {
        return column == null ? (Object) number : column;
    }
}
