package org.peft4j.cli;

import org.jspecify.annotations.Nullable;
import org.peft4j.LoadedAdapter;
import picocli.CommandLine.Option;

/** The option that says which of an adapter's tasks rows are of. */
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class TaskIdOption {
    @Option(
            names = "--task-id",
            paramLabel = "N|COLUMN",
            description =
                    "Which of the adapter's tasks rows are of, where it has several: one number for all of them, or the"
                            + " column with each row's (default: the column trained with).")
    private @Nullable String taskId;

    LoadedAdapter.Options addTo(LoadedAdapter.Options options) {
        return taskId == null ? options : options.with("task_id", taskId);
    }
}
