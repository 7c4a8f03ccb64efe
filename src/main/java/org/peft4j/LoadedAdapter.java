package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TaskConfig;
import org.peft4j.data.Batches;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.lifetime.Lease;
import org.peft4j.metrics.Evaluation;
import org.peft4j.task.Dataset;
import org.peft4j.task.Example;
import org.peft4j.task.TaskType;
import org.peft4j.train.Inference;
import org.peft4j.train.LoadedTask;

/**
 * An adapter on a {@link BaseModel}, with the head and the settings of its task. Safe from many threads. {@link #close} waits for
 * calls that use it; later ones are refused with an {@link IllegalStateException}. Closing the model closes it, too.
 */
public final class LoadedAdapter implements AutoCloseable {
    /**
     * How to use an adapter. What is not said is taken from the adapter's own settings ({@code peft4j.json}), else from the
     * model's files.
     *
     * @param task name of the task, or null for the one that it was trained for
     * @param settings of the task, named as in a run file: {@code max_length}, {@code labels}, {@code text}, …
     */
    public record Options(@Nullable String task, Map<String, Object> settings) {
        public Options {
            settings = Collections.unmodifiableMap(new LinkedHashMap<>(settings));
        }

        /** Nothing is said: all is taken from the files. */
        public static Options defaults() {
            return new Options(null, Map.of());
        }

        /** The same for a task by name; null for the one that the adapter was trained for. */
        public Options withTask(@Nullable String value) {
            return new Options(value, settings);
        }

        /** Most tokens of a row, special tokens included. */
        public Options withMaxLength(int value) {
            if (value < 1) {
                throw new IllegalArgumentException("maxLength must be at least 1, got " + value);
            }
            return with("max_length", value);
        }

        /** Names of the classes, in the order of the outputs. */
        public Options withLabels(List<String> value) {
            return with("labels", List.copyOf(value));
        }

        /** A setting of the task, named as in a run file. */
        public Options with(String key, Object value) {
            Map<String, Object> all = new LinkedHashMap<>(settings);
            all.put(key, value);
            return new Options(task, all);
        }
    }

    private final String name;
    private final BaseModel base;
    private final LoadedTask<?> loaded;
    private final Lease lease;
    private final @Nullable LoadedAdapter whole; // that this one shows one task of
    private final List<LoadedAdapter> parts; // that this one is made of
    private volatile boolean closed;

    LoadedAdapter(String name, BaseModel base, LoadedTask<?> loaded) {
        this.name = name;
        this.base = base;
        this.loaded = loaded;
        lease = new Lease("adapter '" + name + "'", loaded::close);
        whole = null;
        parts = List.of();
    }

    /** @param loaded made of the parts, which own all of it */
    LoadedAdapter(String name, BaseModel base, LoadedTask<?> loaded, Collection<LoadedAdapter> parts) {
        this.name = name;
        this.base = base;
        this.loaded = loaded;
        lease = new Lease("composition '" + name + "'", () -> {});
        whole = null;
        this.parts = List.copyOf(parts);
    }

    private LoadedAdapter(LoadedAdapter of, int task) {
        name = of.name;
        base = of.base;
        loaded = of.loaded.ofTask(task);
        lease = of.lease;
        whole = of.whole == null ? of : of.whole;
        parts = of.parts;
    }

    /**
     * This adapter for rows and texts that are all of one of its tasks, whatever column the adapter was trained with: for texts that are
     * no rows, and for a request each whose tasks differ. It ends with this one; closing it does nothing.
     *
     * @param task number of the task, from 0
     * @throws org.peft4j.error.ConfigException if the adapter has no such task
     */
    public LoadedAdapter ofTask(int task) {
        return new LoadedAdapter(this, task);
    }

    /** How many tasks it has, of which each row has to be of one; 0: it knows none. */
    public int tasks() {
        return loaded.adapter() == null ? 0 : loaded.adapter().tasks();
    }

    /** What it was called when it was loaded. */
    public String name() {
        return name;
    }

    /** The model that it is loaded on. */
    public BaseModel base() {
        return base;
    }

    /** Its task, with everything decided. */
    public TaskConfig task() {
        return loaded.task().config();
    }

    /** Names of the outputs, in their order; empty for tasks without classes. */
    public List<String> labels() {
        return loaded.task().labels();
    }

    /** Most tokens of a row that are read, special tokens included. */
    public int maxLength() {
        return loaded.tokenizer().maxLength();
    }

    /** What a user should know about the adapter. */
    public List<String> notes() {
        return loaded.notes();
    }

    /** Hears of rows with what is said of them. */
    @FunctionalInterface
    public interface Receiver {
        /**
         * @param row the row's own columns
         * @param columns those to be added
         * @param cut whether the row was longer than the limit of tokens
         */
        void accept(Map<String, @Nullable Object> row, Map<String, @Nullable Object> columns, boolean cut);
    }

    /**
     * What is said of the rows of a file (JSONL, CSV, TSV, CoNLL; {@code -} is standard input), batch by batch, in order.
     *
     * @param batchSize rows that go through the model at once
     */
    public void answer(Path data, int batchSize, Receiver receiver) throws IOException {
        Objects.requireNonNull(data, "data");
        try (Lease.Held held = take();
                RowReader rows = RowReader.open(data, loaded.task().columns())) {
            answer(rows, batchSize, receiver);
        }
    }

    /** As {@link #answer(Path, int, Receiver)}, of rows from memory; the stream is read once and closed. */
    public void answer(Stream<? extends Map<String, ? extends @Nullable Object>> data, int batchSize, Receiver receiver)
            throws IOException {
        Objects.requireNonNull(data, "data");
        try (Lease.Held held = take();
                RowReader rows = RowReader.of(data)) {
            answer(rows, batchSize, receiver);
        }
    }

    private void answer(RowReader reader, int batchSize, Receiver receiver) throws IOException {
        if (batchSize < 1) {
            throw new IllegalArgumentException("batchSize must be at least 1, got " + batchSize);
        }
        Objects.requireNonNull(receiver, "receiver");
        List<Row> rows = new ArrayList<>();
        Row row = reader.next();
        while (row != null) {
            rows.add(row);
            row = reader.next();
            if (row == null || rows.size() == batchSize) {
                List<BaseModel.Answer> answers = answer(rows);
                for (int i = 0; i < rows.size(); i++) {
                    receiver.accept(
                            rows.get(i).fields(),
                            answers.get(i).columns(),
                            answers.get(i).cut());
                }
                rows.clear();
            }
        }
    }

    List<BaseModel.Answer> answer(List<Row> rows) {
        return base.answer(
                Collections.nCopies(rows.size(), this), rows, i -> rows.get(i).where());
    }

    /** How well it does on rows with answers, in the columns it was trained on. */
    public Evaluation evaluate(Path data, int batchSize) throws IOException {
        Objects.requireNonNull(data, "data");
        return evaluate(loaded, columns -> RowReader.open(data, columns), batchSize);
    }

    /** As {@link #evaluate(Path, int)}, of rows from memory; the stream is read once and closed. */
    public Evaluation evaluate(Stream<? extends Map<String, ? extends @Nullable Object>> data, int batchSize)
            throws IOException {
        Objects.requireNonNull(data, "data");
        return evaluate(loaded, columns -> RowReader.of(data), batchSize);
    }

    private <E extends Example> Evaluation evaluate(LoadedTask<E> task, TaskType.Rows rows, int batchSize)
            throws IOException {
        try (Lease.Held model = base.take();
                Lease.Held held = take();
                RowReader reader = rows.open(task.task().answeredColumns())) {
            Dataset<E> data = task.task().read(reader, task.tokenizer());
            data.checkVocabulary(base.opened().model().info().vocabulary());
            if (task.adapter() != null) {
                data.checkTasks(task.adapter());
                data.checkLengths(task.adapter());
            }
            return Inference.evaluate(
                    base.opened().model(),
                    task.task(),
                    task.model().head(),
                    task.adapter(),
                    data,
                    Batches.inOrder(data.size(), batchSize));
        }
    }

    LoadedTask<?> loaded() {
        return loaded;
    }

    /** Keeps it, and what it is made of, from being freed. */
    Lease.Held take() {
        List<Lease.Held> held = new ArrayList<>();
        try {
            held.add(lease.take());
            for (LoadedAdapter part : parts) {
                held.add(takePart(part));
            }
        } catch (IllegalStateException e) {
            held.forEach(Lease.Held::close);
            throw e;
        }
        return () -> held.forEach(Lease.Held::close);
    }

    private Lease.Held takePart(LoadedAdapter part) {
        try {
            return part.take();
        } catch (IllegalStateException e) {
            throw new IllegalStateException(e.getMessage() + ", and composition '" + name + "' is made of it", e);
        }
    }

    boolean isClosed() {
        return whole == null ? closed || parts.stream().anyMatch(LoadedAdapter::isClosed) : whole.isClosed();
    }

    /**
     * Waits for calls that use it and frees its memory; the model stays, and of a composition the adapters that it is made of. Closing
     * twice does nothing.
     */
    @Override
    public void close() {
        if (whole == null) {
            lease.close();
            closed = true;
        }
    }

    @Override
    public String toString() {
        return "LoadedAdapter[" + name + ", " + task().type() + "]";
    }
}
