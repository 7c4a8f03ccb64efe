package org.peft4j.config;

import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The task of giving each text a label, or several, or a number.
 *
 * @param labels the classes in the order of the outputs; empty takes the adapter's, else the model's, else those found in
 *     the training data, numbers by size and texts by their letters
 * @param text name of the column with the text
 * @param textPair name of the column with a second text that belongs to the first, or null
 * @param label name of the column with the label
 * @param maxLength most tokens of a text, special tokens included; longer texts are cut and counted
 * @param newHead train a new head, also where the model has one already: for other classes than the model's. Without it a
 *     model whose head has another number of outputs than there are labels is refused. A model without a head always gets
 *     a new one
 * @param problem what the outputs are; null takes the model's, else one label for each text
 * @param taskId which of the adapter's tasks a row is of, where it has several; null: nothing is said
 */
public record SequenceClassificationConfig(
        List<String> labels,
        String text,
        @Nullable String textPair,
        String label,
        int maxLength,
        boolean newHead,
        @Nullable ProblemType problem,
        @Nullable TaskId taskId)
        implements TaskConfig {
    /** The name of the task in files. */
    public static final String TYPE = "sequence-classification";

    public SequenceClassificationConfig {
        labels = List.copyOf(labels);
        if (problem == ProblemType.REGRESSION && labels.size() > 1) {
            throw new IllegalArgumentException(
                    "labels must be at most one where problem is regression, whose output is a number, got " + labels);
        }
        Checks.labels(labels, problem == null || problem == ProblemType.SINGLE_LABEL ? 2 : 1);
        Checks.column(text, "text");
        if (textPair != null) {
            Checks.column(textPair, "textPair");
        }
        Checks.column(label, "label");
        Checks.maxLength(maxLength);
    }

    @Override
    public String type() {
        return TYPE;
    }

    /** The columns "text" and "label", at most 256 tokens, labels and head where they are found. */
    public static SequenceClassificationConfig defaults() {
        return builder().build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** A builder that has these settings. */
    public Builder toBuilder() {
        Builder builder = new Builder();
        builder.labels = labels;
        builder.text = text;
        builder.textPair = textPair;
        builder.label = label;
        builder.maxLength = maxLength;
        builder.newHead = newHead;
        builder.problem = problem;
        builder.taskId = taskId;
        return builder;
    }

    /**
     * Builds a {@link SequenceClassificationConfig}; every setting has a default. Each method sets what has its name
     * in {@link SequenceClassificationConfig}, where it is described. For one thread; {@code build} may be called again.
     */
    public static final class Builder {
        private List<String> labels = List.of();
        private String text = "text";
        private @Nullable String textPair;
        private String label = "label";
        private int maxLength = MAX_LENGTH;
        private boolean newHead;
        private @Nullable ProblemType problem;
        private @Nullable TaskId taskId;

        private Builder() {}

        public Builder labels(List<String> names) {
            labels = Objects.requireNonNull(names, "labels");
            return this;
        }

        public Builder labels(String... names) {
            return labels(List.of(names));
        }

        public Builder text(String column) {
            text = column;
            return this;
        }

        public Builder textPair(@Nullable String column) {
            textPair = column;
            return this;
        }

        public Builder label(String column) {
            label = column;
            return this;
        }

        public Builder maxLength(int tokens) {
            maxLength = tokens;
            return this;
        }

        public Builder newHead(boolean value) {
            newHead = value;
            return this;
        }

        public Builder problem(@Nullable ProblemType value) {
            problem = value;
            return this;
        }

        public Builder taskId(@Nullable TaskId value) {
            taskId = value;
            return this;
        }

        /**
         * The settings so far.
         *
         * @throws IllegalArgumentException if one is wrong by itself, or beside another
         */
        public SequenceClassificationConfig build() {
            return new SequenceClassificationConfig(labels, text, textPair, label, maxLength, newHead, problem, taskId);
        }
    }
}
