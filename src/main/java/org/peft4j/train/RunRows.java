package org.peft4j.train;

import org.jspecify.annotations.Nullable;
import org.peft4j.config.DataConfig;
import org.peft4j.data.RowReader;
import org.peft4j.task.TaskType;

/**
 * Where the rows of a run come from.
 *
 * @param validation null if there are none
 */
public record RunRows(TaskType.Rows train, TaskType.@Nullable Rows validation) {
    /** From the files of a run. */
    public static RunRows of(DataConfig data) {
        return new RunRows(
                columns -> RowReader.open(data.train(), columns),
                data.validation() == null ? null : columns -> RowReader.open(data.validation(), columns));
    }
}
