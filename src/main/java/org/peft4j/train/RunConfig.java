package org.peft4j.train;

import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.MethodConfig;

/**
 * Everything that a training run is told. {@link RunConfigFile} reads it from YAML, with the same names.
 *
 * @param model the base model
 * @param task what it is trained to do
 * @param labels the classes in the order of the outputs; empty takes those found in the training data, sorted
 * @param data the data files
 * @param method the adapter method and its settings
 * @param adapter an adapter directory to start from, or null for fresh weights
 * @param training how it is trained
 * @param output the run directory to make
 */
public record RunConfig(
        ModelConfig model,
        Task task,
        List<String> labels,
        DataConfig data,
        MethodConfig method,
        @Nullable Path adapter,
        TrainingConfig training,
        Path output) {
    public RunConfig {
        Objects.requireNonNull(model, "model");
        Objects.requireNonNull(task, "task");
        labels = List.copyOf(labels);
        Objects.requireNonNull(data, "data");
        Objects.requireNonNull(method, "method");
        Objects.requireNonNull(training, "training");
        Objects.requireNonNull(output, "output");
        if (labels.size() == 1) {
            throw new IllegalArgumentException(
                    "labels must be at least two, or none to find them in the data, got " + labels);
        }
        if (new HashSet<>(labels).size() != labels.size()) {
            throw new IllegalArgumentException("labels must differ, got " + labels);
        }
    }

    public static Builder builder() {
        return new Builder();
    }

    /** Builds a {@link RunConfig}. Model, data, method and output have to be given. */
    public static final class Builder {
        private @Nullable ModelConfig model;
        private Task task = Task.SEQUENCE_CLASSIFICATION;
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

        public Builder task(Task value) {
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

        public Builder method(MethodConfig value) {
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
                    given(method, "method"),
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
