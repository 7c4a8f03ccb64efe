package org.peft4j.config;

import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.MethodConfig;

/**
 * Everything that a training run is told. {@link org.peft4j.run.RunConfigFile} reads it from YAML, with the same names.
 *
 * @param model the base model
 * @param task what it is trained to do, with its labels and the columns that it reads
 * @param data the data files; may be null where rows are given in memory
 * @param method the adapter method and its settings; may be null where there is an adapter to start from, whose method it
 *     is then
 * @param adapter an adapter directory to start from, or null for fresh weights
 * @param frozenAdapters adapter directories that apply to every row before the one that is trained, in order, and stay as they are:
 *     a language adapter under a task adapter (MAD-X)
 * @param training how it is trained
 * @param output the run directory to make
 */
public record RunConfig(
        ModelConfig model,
        TaskConfig task,
        @Nullable DataConfig data,
        @Nullable MethodConfig method,
        @Nullable Path adapter,
        List<Path> frozenAdapters,
        TrainingConfig training,
        Path output) {
    public RunConfig {
        Objects.requireNonNull(model, "model");
        Objects.requireNonNull(task, "task");
        Objects.requireNonNull(training, "training");
        Objects.requireNonNull(output, "output");
        frozenAdapters = List.copyOf(frozenAdapters);
        checkFrozen(frozenAdapters, adapter, output);
        if (method == null && adapter == null) {
            throw new IllegalArgumentException(
                    "missing 'method': give one, such as {type: lora}, or an adapter to start from");
        }
    }

    private static void checkFrozen(List<Path> frozen, @Nullable Path adapter, Path output) {
        Set<Path> seen = new HashSet<>();
        for (Path directory : frozen) {
            Path place = place(directory);
            if (!seen.add(place)) {
                throw new IllegalArgumentException(
                        "frozenAdapters must name each adapter once, got " + directory + " twice");
            }
            if (place.equals(place(output))) {
                throw new IllegalArgumentException("frozenAdapters must not name the output " + output
                        + ", which the run writes; choose another output");
            }
            if (adapter != null && place.equals(place(adapter))) {
                throw new IllegalArgumentException("frozenAdapters must not name the adapter " + adapter
                        + " that the run goes on from: it is trained, or it is frozen");
            }
        }
    }

    private static Path place(Path path) {
        return path.toAbsolutePath().normalize();
    }

    /** A builder that has these settings. */
    public Builder toBuilder() {
        Builder builder = new Builder();
        builder.model = model;
        builder.task = task;
        builder.data = data;
        builder.method = method;
        builder.adapter = adapter;
        builder.frozenAdapters = frozenAdapters;
        builder.training = training;
        builder.output = output;
        return builder;
    }

    /** The same run with another task. */
    public RunConfig withTask(TaskConfig other) {
        return toBuilder().task(other).build();
    }

    /** The same run with another method. */
    public RunConfig withMethod(MethodConfig other) {
        return toBuilder().method(other).build();
    }

    /** The method. */
    public MethodConfig chosenMethod() {
        return Objects.requireNonNull(method, "method");
    }

    /** A builder that has the defaults, and nothing that has to be given. */
    public static Builder builder() {
        return new Builder();
    }

    /**
     * Builds a {@link RunConfig}. Model, data, output and a method (or an adapter) have to be given. Each method sets what has its name
     * in {@link RunConfig}, where it is described. For one thread; {@code build} may be called again.
     */
    public static final class Builder {
        private @Nullable ModelConfig model;
        private TaskConfig task = SequenceClassificationConfig.defaults();
        private @Nullable DataConfig data;
        private @Nullable MethodConfig method;
        private @Nullable Path adapter;
        private List<Path> frozenAdapters = List.of();
        private TrainingConfig training = TrainingConfig.defaults();
        private @Nullable Path output;

        private Builder() {}

        public Builder model(ModelConfig value) {
            model = value;
            return this;
        }

        /** A model directory, with the settings of {@link ModelConfig#of}. */
        public Builder model(Path directory) {
            return model(ModelConfig.of(directory));
        }

        public Builder task(TaskConfig value) {
            task = value;
            return this;
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

        public Builder frozenAdapters(List<Path> directories) {
            frozenAdapters = directories;
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

        /**
         * The settings so far.
         *
         * @throws IllegalStateException if a part is missing that has to be given
         */
        public RunConfig build() {
            return new RunConfig(
                    given(model, "model"),
                    task,
                    data,
                    adapter == null ? given(method, "method") : method,
                    adapter,
                    frozenAdapters,
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
