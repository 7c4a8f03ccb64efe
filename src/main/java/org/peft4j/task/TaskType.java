package org.peft4j.task;

import java.io.IOException;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TaskConfig;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ModelDirectory;

/**
 * A kind of task. Stateless.
 *
 * @param <C> its settings
 */
public interface TaskType<C extends TaskConfig> {
    /** The name in run files and beside adapters. */
    String name();

    /** Hugging Face PEFT's name. */
    String peftName();

    /**
     * How the names of transformers' classes for it end, such as {@code ForSequenceClassification}; empty where a class says
     * nothing of it.
     */
    default Optional<String> architectureSuffix() {
        return Optional.empty();
    }

    Class<C> configType();

    /** The settings where nothing is said. */
    C defaults();

    /**
     * A task and the rows to train and evaluate it on.
     *
     * @param validation null if there are none
     */
    record Prepared<E extends Example>(
            Task<E> task, Dataset<E> train, @Nullable Dataset<E> validation) {}

    /** Opens rows; asked for once. */
    @FunctionalInterface
    interface Rows {
        RowReader open(java.util.List<String> columns) throws IOException;
    }

    /**
     * Reads the rows of a run and decides what is left to decide. Each source is read once, from front to end.
     *
     * @throws org.peft4j.error.ConfigException if settings, rows, model and adapter do not fit
     * @throws org.peft4j.error.MalformedFileException if a row is not what it should be
     */
    Prepared<?> prepare(C config, Origin origin, Rows train, @Nullable Rows validation, TextTokenizer tokenizer)
            throws IOException;

    /**
     * What shows rows as they will be trained, from the tokenizer's files and the adapter's alone: no weights are read.
     *
     * @param adapter the adapter's files, or null
     */
    ShownRow.Viewer viewer(C config, ModelDirectory directory, @Nullable AdapterFile adapter) throws IOException;

    /**
     * The task of a model or adapter that is used as it is.
     *
     * @param config what the caller says, over what is saved
     */
    Task<?> use(C config, Origin origin) throws IOException;
}
