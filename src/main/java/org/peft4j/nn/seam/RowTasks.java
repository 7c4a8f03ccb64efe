package org.peft4j.nn.seam;

import org.peft4j.error.ConfigException;

/** Which of an adapter's tasks a row is of, where an adapter has several ({@link Adapter#tasks}). */
public final class RowTasks {
    /** Of a row that says none. */
    public static final int NONE = -1;

    private RowTasks() {}

    /**
     * Refuses a row whose task an adapter does not have, and one that says none where it has to.
     *
     * @param task of the row, or {@link #NONE}
     * @param where names the row for the message
     * @throws ConfigException naming the adapter
     */
    public static void check(Adapter adapter, int task, String where) {
        int tasks = adapter.tasks();
        if (task == NONE) {
            if (tasks > 0 && adapter.usualTask() == NONE) {
                throw new ConfigException(where + ": the adapter '" + adapter.name() + "' has " + tasks
                        + " tasks, and each row must say which one it is of: " + HOW);
            }
        } else if (tasks == 0) {
            throw new ConfigException(
                    where + " is of task " + task + ", but the adapter '" + adapter.name() + "' has no tasks");
        } else if (task >= tasks) {
            throw new ConfigException(where + ": the task must be " + (tasks == 1 ? "0" : "0 to " + (tasks - 1))
                    + ", one of the adapter's " + tasks + ", got " + task);
        }
    }

    /** How a row says its task. */
    public static final String HOW =
            "task.task_id names the column with its number, or is one number for all rows (--task-id, LoadedAdapter.ofTask)";
}
