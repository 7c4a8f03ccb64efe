package org.peft4j.config;

import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The data files: JSONL or CSV, by their ending.
 *
 * @param train rows to train on
 * @param validation rows to evaluate on after each epoch, or null
 * @param text name of the column with the text
 * @param label name of the column with the label
 * @param maxLength most tokens of a text, special tokens included; longer texts are cut and counted
 */
public record DataConfig(Path train, @Nullable Path validation, String text, String label, int maxLength) {
    public static final String TEXT = "text";
    public static final String LABEL = "label";
    public static final int MAX_LENGTH = 256;

    public DataConfig {
        Objects.requireNonNull(train, "train");
        if (text.isEmpty()) {
            throw new IllegalArgumentException("text must name a column, got an empty name");
        }
        if (label.isEmpty()) {
            throw new IllegalArgumentException("label must name a column, got an empty name");
        }
        if (maxLength < 1) {
            throw new IllegalArgumentException("maxLength must be at least 1, got " + maxLength);
        }
    }

    /** The columns "text" and "label", at most 256 tokens. */
    public static DataConfig of(Path train, @Nullable Path validation) {
        return new DataConfig(train, validation, TEXT, LABEL, MAX_LENGTH);
    }
}
