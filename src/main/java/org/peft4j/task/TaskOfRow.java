package org.peft4j.task;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TaskId;
import org.peft4j.data.Row;
import org.peft4j.error.ConfigException;
import org.peft4j.io.NearestName;
import org.peft4j.nn.seam.RowTasks;

/** Which of an adapter's tasks rows are of, as a task's settings say ({@link TaskConfig#taskId}). */
public final class TaskOfRow {
    private TaskOfRow() {}

    /**
     * The task of a row; {@link RowTasks#NONE} where the settings say nothing of tasks.
     *
     * @throws org.peft4j.error.MalformedFileException if its column is not there or holds no number of a task
     */
    public static int of(Row row, TaskConfig config) {
        TaskId id = config.taskId();
        if (id == null) {
            return RowTasks.NONE;
        }
        if (id.column() == null) {
            return id.number();
        }
        if (!row.fields().containsKey(id.column())) {
            throw row.wrong("no column '" + id.column() + "', which says the row's task (task_id)"
                    + NearestName.hint(id.column(), row.fields().keySet())
                    + "; add it, or say one task for all rows (--task-id N, LoadedAdapter.ofTask)");
        }
        return row.index(id.column());
    }

    /**
     * The task of a text that is no row, so that no column can say it.
     *
     * @param where names it for the message
     * @throws ConfigException if a column should
     */
    public static int ofText(TaskConfig config, String where) {
        TaskId id = config.taskId();
        if (id != null && id.column() != null) {
            throw new ConfigException(
                    where + ": a text has no column '" + id.column()
                            + "', which says the row's task (task_id); say the task of all texts (--task-id N, LoadedAdapter.ofTask)");
        }
        return id == null ? RowTasks.NONE : id.number();
    }

    /** Columns, and the one that says the tasks. */
    public static List<String> with(List<String> columns, TaskConfig config) {
        String column = columnOf(config);
        if (column == null || columns.contains(column)) {
            return columns;
        }
        List<String> all = new ArrayList<>(columns);
        all.add(column);
        return all;
    }

    private static @Nullable String columnOf(TaskConfig config) {
        TaskId id = config.taskId();
        return id == null ? null : id.column();
    }
}
