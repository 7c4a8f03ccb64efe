package org.peft4j.config;

import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The data files: JSONL or CSV, by their ending. Which of their columns are read is the task's.
 *
 * @param train rows to train on
 * @param validation rows to evaluate on after each epoch, or null
 */
public record DataConfig(Path train, @Nullable Path validation) {
    public DataConfig {
        Objects.requireNonNull(train, "train");
    }
}
