package org.peft4j.config;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The task of giving each word of a text a tag.
 *
 * @param labels the tags in the order of the outputs; empty takes the adapter's, else the model's, else those found in the
 *     training data
 * @param words name of the column with the words, a list in each row
 * @param tags name of the column with the tags, a list as long as that of the words
 * @param maxLength most tokens of a row, special tokens included; longer rows are cut and counted
 * @param newHead train a new head, also where the model has one already: for other tags than the model's
 * @param taskId which of the adapter's tasks a row is of, where it has several; null: nothing is said
 */
public record TokenClassificationConfig(
        List<String> labels,
        String words,
        String tags,
        int maxLength,
        boolean newHead,
        @Nullable TaskId taskId) implements TaskConfig {
    /** The name of the task in files. */
    public static final String TYPE = "token-classification";

    public TokenClassificationConfig {
        labels = List.copyOf(labels);
        Checks.labels(labels, 2);
        Checks.column(words, "words");
        Checks.column(tags, "tags");
        Checks.maxLength(maxLength);
    }

    @Override
    public String type() {
        return TYPE;
    }

    /** The columns "words" and "tags", at most 256 tokens, labels and head where they are found. */
    public static TokenClassificationConfig defaults() {
        return new TokenClassificationConfig(List.of(), "words", "tags", MAX_LENGTH, false, null);
    }

    /** The same with these tags, in the order of the outputs. */
    public TokenClassificationConfig withLabels(List<String> names) {
        return new TokenClassificationConfig(names, words, tags, maxLength, newHead, taskId);
    }

    /** The same with words and tags in other columns. */
    public TokenClassificationConfig withColumns(String wordsColumn, String tagsColumn) {
        return new TokenClassificationConfig(labels, wordsColumn, tagsColumn, maxLength, newHead, taskId);
    }

    /** The same with another limit of tokens. */
    public TokenClassificationConfig withMaxLength(int tokens) {
        return new TokenClassificationConfig(labels, words, tags, tokens, newHead, taskId);
    }

    /** The same with a new head, or not. */
    public TokenClassificationConfig withNewHead(boolean value) {
        return new TokenClassificationConfig(labels, words, tags, maxLength, value, taskId);
    }

    /** The same with rows of these tasks of the adapter; null says nothing of them. */
    public TokenClassificationConfig withTaskId(@Nullable TaskId value) {
        return new TokenClassificationConfig(labels, words, tags, maxLength, newHead, value);
    }
}
