package org.peft4j.config;

import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.MethodConfig;

/**
 * Everything that a training run is told. {@link org.peft4j.run.RunConfigFile} reads it from YAML, with the same names.
 *
 * @param model the base model
 * @param task what it is trained to do
 * @param labels the classes in the order of the outputs; empty takes the adapter's, else the model's, else those found in
 *     the training data, numbers by size and texts by their letters
 * @param data the data files
 * @param method the adapter method and its settings; may be null where there is an adapter to start from, whose method it
 *     is then
 * @param adapter an adapter directory to start from, or null for fresh weights
 * @param training how it is trained
 * @param output the run directory to make
 */
public record RunConfig(
        ModelConfig model,
        TaskConfig task,
        List<String> labels,
        DataConfig data,
        @Nullable MethodConfig method,
        @Nullable Path adapter,
        TrainingConfig training,
        Path output) {
    public RunConfig {
        Objects.requireNonNull(model, "model");
        Objects.requireNonNull(task, "task");
        labels = List.copyOf(labels);
        Objects.requireNonNull(data, "data");
        Objects.requireNonNull(training, "training");
        Objects.requireNonNull(output, "output");
        if (method == null && adapter == null) {
            throw new IllegalArgumentException(
                    "missing 'method': give one, such as {type: lora}, or an adapter to start from");
        }
        if (labels.size() == 1) {
            throw new IllegalArgumentException(
                    "labels must be at least two, or none to find them in the data, got " + labels);
        }
        if (new HashSet<>(labels).size() != labels.size()) {
            throw new IllegalArgumentException("labels must differ, got " + labels);
        }
    }

    /** The same run with another method. */
    public RunConfig withMethod(MethodConfig other) {
        return new RunConfig(model, task, labels, data, other, adapter, training, output);
    }

    /** The method. */
    public MethodConfig chosenMethod() {
        return Objects.requireNonNull(method, "method");
    }

    public static Builder builder() {
        return new Builder();
    }

    /** Builds a {@link RunConfig}. Model, data, output and a method (or an adapter) have to be given. */
    public static final class Builder {
        private @Nullable ModelConfig model;
        private TaskConfig task = SequenceClassificationConfig.defaults();
        private List<String> labels = List.of();
        private @Nullable DataConfig data;
        private @Nullable MethodConfig method;
        private @Nullable Path adapter;
        private TrainingConfig training = TrainingConfig.defaults();
        private @Nullable Path output;

        private Builder() {}

        public Builder model(ModelConfig value) {
            model = value;
            return this;
        }

        /** A model directory, with the dropout of its config. */
        public Builder model(Path directory) {
            return model(ModelConfig.of(directory));
        }

        public Builder task(TaskConfig value) {
            task = value;
            return this;
        }

        public Builder labels(List<String> value) {
            labels = value;
            return this;
        }

        public Builder labels(String... names) {
            return labels(List.of(names));
        }

        public Builder data(DataConfig value) {
            data = value;
            return this;
        }

        public Builder method(@Nullable MethodConfig value) {
            method = value;
            return this;
        }

        public Builder adapter(@Nullable Path directory) {
            adapter = directory;
            return this;
        }

        public Builder training(TrainingConfig value) {
            training = value;
            return this;
        }

        public Builder output(Path directory) {
            output = directory;
            return this;
        }

        public RunConfig build() {
            return new RunConfig(
                    given(model, "model"),
                    task,
                    labels,
                    given(data, "data"),
                    adapter == null ? given(method, "method") : method,
                    adapter,
                    training,
                    given(output, "output"));
        }

        private static <T> T given(@Nullable T value, String name) {
            if (value == null) {
                throw new IllegalStateException("RunConfig needs " + name + "; call " + name + "(…) before build()");
            }
            return value;
        }
    }
}
