package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.Dtype;
import org.peft4j.config.ModelConfig;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.lifetime.Lease;
import org.peft4j.train.Inference;
import org.peft4j.train.LoadedTask;
import org.peft4j.train.OpenedModel;

/**
 * A frozen model in memory, over which any number of adapters, of any tasks, may be loaded, used and trained at once. Safe from
 * many threads. {@link #close} closes what is loaded on it and waits for the calls that run; later calls are refused with an
 * {@link IllegalStateException}.
 */
public final class BaseModel implements AutoCloseable {
    private final OpenedModel opened;
    private final Lease lease;
    private final List<LoadedAdapter> loaded = new ArrayList<>();

    private BaseModel(OpenedModel opened) {
        this.opened = opened;
        lease = new Lease("this model", opened::close);
    }

    /** Opens a Hugging Face model directory: config.json, model.safetensors, tokenizer.json. float32, on the first card, else the CPU. */
    public static BaseModel open(Path directory) throws IOException {
        return open(ModelConfig.of(directory));
    }

    /**
     * Opens a model.
     *
     * @throws org.peft4j.error.MalformedFileException if a file of the directory is not what it should be
     */
    public static BaseModel open(ModelConfig config) throws IOException {
        return new BaseModel(OpenedModel.open(Objects.requireNonNull(config, "config"), 0));
    }

    /**
     * Opens a model as an adapter needs it: with the layers that it was made for ({@code layer_replication}), unless the config says
     * layers itself. The adapter is not loaded.
     *
     * @param adapter its directory; null: the model as it is
     * @throws org.peft4j.error.MalformedFileException if a file of the directory is not what it should be
     */
    public static BaseModel open(ModelConfig config, @Nullable Path adapter) throws IOException {
        return open(OpenedModel.configFor(Objects.requireNonNull(config, "config"), adapter));
    }

    /**
     * Loads an adapter for the task that it was trained for.
     *
     * @param name what it is called in messages, such as the tenant's name
     */
    public LoadedAdapter load(String name, Path adapter) throws IOException {
        return load(name, adapter, LoadedAdapter.Options.defaults());
    }

    /**
     * Loads an adapter.
     *
     * @throws org.peft4j.error.MalformedFileException if model and adapter do not fit, or a file is not what it should be
     * @throws ConfigException if an option does not fit them
     */
    public LoadedAdapter load(String name, Path adapter, LoadedAdapter.Options options) throws IOException {
        return add(name, Objects.requireNonNull(adapter, "adapter"), options);
    }

    /** The model with a head of its own and no adapter: a classifier that was published as a whole, or plain embeddings. */
    public LoadedAdapter plain(LoadedAdapter.Options options) throws IOException {
        return add("the model itself", null, options);
    }

    private LoadedAdapter add(String name, @Nullable Path adapter, LoadedAdapter.Options options) throws IOException {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(options, "options");
        try (Lease.Held held = lease.take()) {
            LoadedTask<?> task = LoadedTask.load(opened, adapter, options.task(), options.settings());
            LoadedAdapter made = new LoadedAdapter(name, this, task);
            add(made);
            return made;
        }
    }

    /**
     * Adapters together as one, which is used wherever a loaded one is: for a request, by {@link TextClassifier}, {@link TextGenerator}
     * and the others. Task, head, labels and limits are those of its last adapter; of a mean, or of ranges of texts, whose adapters have
     * heads that differ, the caller says whose. It owns nothing and ends with any of its adapters; closing it closes none of them.
     *
     * @param name what it is called in messages
     * @param composition without {@link Composition.Parallel} and {@link Composition.BatchSplit}, see {@link #composeRows}
     * @param parts the adapters by the names that the composition has; others are not looked at
     * @param headOf the name of the adapter whose task, head and labels it has; none: the last one's
     * @throws ConfigException if they cannot act together; names them and the place
     */
    public LoadedAdapter compose(
            String name, Composition composition, Map<String, LoadedAdapter> parts, String... headOf) {
        Objects.requireNonNull(name, "name");
        try (Lease.Held held = lease.take()) {
            LoadedAdapter made = new Composer(this, name, parts, List.of(headOf)).compose(composition);
            add(made);
            return made;
        }
    }

    /**
     * Adapters that share the rows of a call among them: branches that answer every row ({@link Composition.Parallel}), ranges of rows
     * ({@link Composition.BatchSplit}), also with other blocks around and within them. Any composition is taken.
     *
     * @param name what it is called in messages
     * @param parts the adapters by the names that the composition has
     * @param headOf names of adapters whose task, head and labels a branch or range has, where {@link #compose} needs that said
     * @throws ConfigException as for {@link #compose}
     */
    public RowComposition composeRows(
            String name, Composition composition, Map<String, LoadedAdapter> parts, String... headOf) {
        Objects.requireNonNull(name, "name");
        try (Lease.Held held = lease.take()) {
            return RowComposition.of(
                    this, name, composition, new Composer(this, name, parts, List.of(headOf)), this::add);
        }
    }

    /**
     * Which of some adapters take part in a composition: those that it names, and the fusions of its {@link Composition.Fuse} blocks.
     *
     * @throws ConfigException if one that it needs is not there
     */
    public Set<String> partsOf(Composition composition, Map<String, LoadedAdapter> parts) {
        Composer composer = new Composer(this, composition.toString(), parts, List.of());
        composer.check(composition);
        return composer.used(composition);
    }

    private void add(LoadedAdapter made) {
        synchronized (loaded) {
            loaded.removeIf(LoadedAdapter::isClosed);
            loaded.add(made);
        }
    }

    /**
     * What is said of each request, all of them in one pass over the model, whichever adapters and tasks they want: the columns
     * that {@code peft4j predict} adds to a row.
     *
     * @throws org.peft4j.error.TrainingException if the model computes numbers that are not finite
     */
    public List<Map<String, @Nullable Object>> answer(List<Request> requests) {
        Objects.requireNonNull(requests, "requests");
        RowReader rows = RowReader.of(requests.stream().map(Request::row));
        List<Row> all = new ArrayList<>();
        try (rows) {
            for (Row row = rows.next(); row != null; row = rows.next()) {
                all.add(row);
            }
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
        return answer(
                        requests.stream().map(Request::adapter).toList(),
                        all,
                        i -> "request " + (i + 1) + " of " + requests.size())
                .stream()
                .map(Answer::columns)
                .toList();
    }

    /**
     * A row for an adapter.
     *
     * @param adapter loaded on this model
     * @param row the columns that its task reads, such as {@code Map.of("text", "Hello")}
     */
    public record Request(LoadedAdapter adapter, Map<String, ? extends @Nullable Object> row) {}

    /**
     * What is said of a row.
     *
     * @param columns to be added to it
     * @param cut whether it was longer than the limit of tokens
     */
    record Answer(Map<String, @Nullable Object> columns, boolean cut) {}

    List<Answer> answer(List<LoadedAdapter> adapterOf, List<Row> rows, IntFunction<String> where) {
        List<Lease.Held> held = new ArrayList<>();
        try (Lease.Held own = lease.take()) {
            for (LoadedAdapter adapter : adapterOf) {
                if (adapter.base() != this) {
                    throw new IllegalArgumentException(
                            "adapter '" + adapter.name() + "' is loaded on another model; load it on this one");
                }
                held.add(adapter.take());
            }
            List<Inference.Part<?>> parts = new ArrayList<>();
            for (int i = 0; i < rows.size(); ) {
                int first = i;
                while (i < rows.size() && adapterOf.get(i) == adapterOf.get(first)) {
                    i++;
                }
                List<Row> part = rows.subList(first, i);
                parts.add(Inference.Part.of(adapterOf.get(first).loaded(), part, r -> where.apply(first + r)));
            }
            if (parts.isEmpty()) {
                return List.of();
            }
            List<Map<String, @Nullable Object>> columns = Inference.outputs(opened.model(), parts);
            List<Boolean> cut =
                    parts.stream().flatMap(part -> part.cut().stream()).toList();
            return IntStream.range(0, rows.size())
                    .mapToObj(i -> new Answer(columns.get(i), cut.get(i)))
                    .toList();
        } finally {
            held.forEach(Lease.Held::close);
        }
    }

    Lease.Held take() {
        return lease.take();
    }

    OpenedModel opened() {
        return opened;
    }

    /** Refuses a run that is for another model, or for this one in another form. */
    void checkSame(ModelConfig config) {
        ModelConfig own = opened.config();
        boolean same = own.path()
                        .toAbsolutePath()
                        .normalize()
                        .equals(config.path().toAbsolutePath().normalize())
                && own.dtype() == config.dtype()
                && own.dropout() == config.dropout()
                && own.layerReplication().equals(config.layerReplication())
                && opened.isOn(config.device());
        if (!same) {
            throw new ConfigException(
                    "the run's model is " + config + ", but the open one is " + own + "; give both the same config");
        }
    }

    /** What a user should know about the model's files, and about the device. */
    public List<String> notes() {
        return opened.notes();
    }

    /** The form of its weights. */
    public Dtype dtype() {
        return opened.config().dtype();
    }

    /** Where it computes: {@code cpu} or {@code cuda:N}. */
    public String device() {
        return opened.device();
    }

    /** Closes what is loaded on it, waits for calls that run, and frees the memory. Closing twice does nothing. */
    @Override
    public void close() {
        List<LoadedAdapter> all;
        synchronized (loaded) {
            all = List.copyOf(loaded);
        }
        all.forEach(LoadedAdapter::close);
        lease.close();
    }
}
