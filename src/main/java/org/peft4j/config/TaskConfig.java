package org.peft4j.config;

import org.jspecify.annotations.Nullable;

/**
 * What a model is trained to do, and which columns of the data say so: one record for each task, chosen by {@code task.type}
 * in run files. Beside an adapter the same record stands in {@code peft4j.json}.
 */
public interface TaskConfig {
    /** How many tokens of a text are read where nothing is said. */
    int MAX_LENGTH = 256;

    /** The name of the task in files, such as {@code sequence-classification}. */
    String type();

    /** Most tokens of a row, special tokens included; longer ones are cut and counted. */
    int maxLength();

    /** Which of an adapter's tasks rows are of, where it has several; null: nothing is said. */
    @Nullable
    TaskId taskId();

    /** What stands of it beside an adapter: not the names of files whose content is saved there, too. */
    default TaskConfig besideAdapter() {
        return this;
    }
}
