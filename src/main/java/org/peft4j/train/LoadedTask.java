package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TaskId;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.RowTasks;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.task.Example;
import org.peft4j.task.Origin;
import org.peft4j.task.Task;
import org.peft4j.task.TaskType;
import org.peft4j.task.TaskTypes;

/**
 * A task ready to be used on a base: its head, its adapter, its limit of tokens. Owns head and adapter, not the base and its
 * tokenizer. Immutable, safe from many threads until closed.
 */
public final class LoadedTask<E extends Example> implements AutoCloseable {
    private static final String MAX_LENGTH = "max_length";

    private final Task<E> task;
    private final HeadedModel model;
    private final AdapterStore.@Nullable Loaded stored;
    private final @Nullable Adapter adapter;
    private final @Nullable TextTokenizer tokenizer;
    private final Length length;
    private final List<String> notes;

    /**
     * Where the limit of tokens comes from.
     *
     * @param asked the caller's; empty: it was taken from files
     * @param said whether anything said it, caller or files; else it is as many as model and tokenizer take
     */
    private record Length(OptionalInt asked, boolean said) {}

    private LoadedTask(
            Task<E> task,
            HeadedModel model,
            AdapterStore.@Nullable Loaded stored,
            @Nullable TextTokenizer tokenizer,
            Length length,
            List<String> notes) {
        this.task = task;
        this.model = model;
        this.stored = stored;
        adapter = stored == null ? null : stored.adapter();
        this.tokenizer = tokenizer;
        this.length = length;
        this.notes = List.copyOf(notes);
    }

    /** Of another one's head and settings, with an adapter that owns nothing. */
    private LoadedTask(LoadedTask<E> of, Adapter adapter, TextTokenizer tokenizer, List<String> notes) {
        task = of.task;
        model = of.model;
        stored = null;
        this.adapter = adapter;
        this.tokenizer = tokenizer;
        length = of.length;
        this.notes = List.copyOf(notes);
    }

    /**
     * Loads a task onto a base.
     *
     * @param adapterPath the adapter, or null for the base with a head of its own
     * @param type name of the task, or null for the one that the adapter was trained for, else the one that the model's class
     *     says, else sequence classification
     * @param settings of the task, as in a run file, over those that stand beside the adapter
     * @throws ConfigException if a setting does not fit, or the adapter was trained for another task
     * @throws MalformedFileException if base and adapter do not fit, or a file is not what it should be
     */
    public static LoadedTask<?> load(
            OpenedModel base, @Nullable Path adapterPath, @Nullable String type, Map<String, ?> settings)
            throws IOException {
        return load(base, adapterPath, type, settings, true);
    }

    /** As {@link #load}, for what reads no text: there need not be a tokenizer. */
    public static LoadedTask<?> loadWithoutTokenizer(OpenedModel base, @Nullable Path adapterPath) throws IOException {
        return load(base, adapterPath, null, Map.of(), false);
    }

    private static LoadedTask<?> load(
            OpenedModel base, @Nullable Path adapterPath, @Nullable String type, Map<String, ?> settings, boolean texts)
            throws IOException {
        GivenAdapter given = GivenAdapter.read(adapterPath);
        AdapterFile file = given.file();
        AdapterSettings beside = given.beside();
        List<String> notes = new ArrayList<>();
        if (beside != null) {
            beside.otherBase(base.hash()).ifPresent(notes::add);
            beside.trainedOnTop().ifPresent(notes::add);
        }
        String name = TaskNames.choose(base.directory(), file, beside, type);
        TaskConfig config = config(name, beside, settings);
        Origin origin = new Origin(base.model(), base.directory(), file, beside == null ? null : beside.task(), notes);
        boolean lengthSaid = beside != null || settings.containsKey(MAX_LENGTH);
        return load(
                base,
                origin,
                use(TaskTypes.of(config), config, origin),
                lengthSaid ? OptionalInt.of(config.maxLength()) : OptionalInt.empty(),
                settings.containsKey(MAX_LENGTH),
                texts);
    }

    /** The settings of a task: those that are said, over those that stand beside the adapter. */
    static TaskConfig config(String name, @Nullable AdapterSettings beside, Map<String, ?> settings) {
        Map<String, @Nullable Object> all = new LinkedHashMap<>();
        if (beside != null) {
            all.putAll(RunConfigFile.taskMap(beside.task()));
        }
        all.put("type", name);
        all.putAll(settings);
        return RunConfigFile.task(all, "task settings");
    }

    static <C extends TaskConfig> Task<?> use(TaskType<C> type, TaskConfig config, Origin origin) throws IOException {
        return type.use(type.configType().cast(config), origin);
    }

    private static <E extends Example> LoadedTask<E> load(
            OpenedModel base, Origin origin, Task<E> task, OptionalInt length, boolean lengthAsked, boolean texts)
            throws IOException {
        HeadedModel model = HeadedModel.behind(base.model(), task.headKind(), task.headOptions());
        List<String> notes = origin.notes();
        AdapterStore.Loaded loaded = null;
        try {
            AdapterFile file = origin.adapter();
            if (file != null) {
                loaded = AdapterStore.read(file, "default", model.points());
                checkPlaces(model, loaded.adapter());
                InvokedTexts.check(task.headKind(), loaded.adapter());
                notes.addAll(loaded.notes());
            } else if (!model.points().fresh().isEmpty()) {
                throw new MalformedFileException(
                        base.directory().directory(),
                        -1,
                        "model has no " + String.join(" and no ", model.points().fresh()) + ", so it cannot do "
                                + task.config().type() + " by itself; give an adapter trained on it (--adapter)");
            }
            checkTasks(task.config(), loaded == null ? null : loaded.adapter());
            TextTokenizer tokenizer = null;
            if (texts) {
                int maxLength = maxLength(base, loaded == null ? null : loaded.adapter(), length, lengthAsked);
                tokenizer = base.tokenizer(maxLength);
                notes.addAll(tokenizer.notes());
            }
            Length limit = new Length(lengthAsked ? length : OptionalInt.empty(), length.isPresent());
            return new LoadedTask<>(task, model, loaded, tokenizer, limit, notes);
        } catch (IOException | RuntimeException e) {
            if (loaded != null) {
                loaded.adapter().close();
            }
            model.close();
            throw e;
        }
    }

    /**
     * Refuses what is added to words by their places where a model reads a whole text anew as soon as it is long, with the words
     * that it wrote itself.
     */
    static void checkPlaces(HeadedModel model, Adapter adapter) {
        if (adapter.longestText() < Integer.MAX_VALUE
                && model.model().rowsVersion(1) != model.model().rowsVersion(Integer.MAX_VALUE / 2)) {
            throw new ConfigException(
                    "method: rows that are added to a text's words by their places are not offered for a"
                            + " model whose rotary embeddings change with the length of the text (rope_type dynamic, longrope)");
        }
    }

    private static void checkTasks(TaskConfig config, @Nullable Adapter adapter) {
        TaskId said = config.taskId();
        if (said == null) {
            return;
        }
        if (adapter == null || adapter.tasks() == 0) {
            throw new ConfigException("task_id says which of an adapter's tasks rows are of, but "
                    + (adapter == null ? "there is no adapter" : "this adapter has no tasks")
                    + "; leave it out (--task-id, Options.with(\"task_id\", …))");
        }
        if (said.column() == null) {
            RowTasks.check(adapter, said.number(), "task_id");
        }
    }

    /**
     * The same for rows that are all of one of the adapter's tasks; it owns nothing, and ends with this one.
     *
     * @throws ConfigException if the adapter has no such task
     */
    public LoadedTask<E> ofTask(int number) {
        TaskId id = TaskId.of(number);
        Task<E> own = task.withTaskId(id);
        checkTasks(own.config(), adapter());
        return new LoadedTask<>(own, model, stored, tokenizer, length, notes);
    }

    /**
     * This task, with its head and settings, for another adapter that is made of this one's and others'. It must not be closed: it ends
     * with what it is made of.
     *
     * @param made claims without parameters of their own
     * @throws ConfigException if it takes so many positions that texts of this task's limit do not fit any more
     */
    public LoadedTask<E> with(OpenedModel base, Adapter made, List<String> noted) throws IOException {
        ModelInfo info = base.model().info();
        TextTokenizer own = tokenizer();
        int room = info.limited() ? info.maxPositions() - made.positions() : Integer.MAX_VALUE;
        if (own.maxLength() > room) {
            if (length.said()) {
                throw new ConfigException("'" + made.name() + "' takes " + made.positions() + " of the model's "
                        + info.maxPositions() + " positions, so that max_length must be at most " + room + ", got "
                        + own.maxLength() + "; give a smaller one to the adapter whose task it has (--max-length,"
                        + " Options.withMaxLength)");
            }
            own = base.tokenizer(room);
        }
        checkPlaces(model, made);
        return new LoadedTask<>(this, made, own, noted);
    }

    private static int maxLength(OpenedModel base, @Nullable Adapter adapter, OptionalInt length, boolean asked)
            throws IOException {
        ModelInfo info = base.model().info();
        int longest = adapter == null ? Integer.MAX_VALUE : adapter.longestText();
        int room = Math.min(longest, info.maxPositions() - (adapter == null ? 0 : adapter.positions()));
        if (length.isEmpty()) {
            return Math.min(room, TextTokenizer.modelMaxLength(base.directory()).orElse(room));
        }
        if ((info.limited() || room == longest) && length.getAsInt() > room) {
            throw new ConfigException("max_length must be at most " + room + " for this model and adapter, got "
                    + length.getAsInt()
                    + (asked
                            ? ""
                            : " from the adapter's " + AdapterSettings.FILE
                                    + "; give a smaller one (--max-length, Options.withMaxLength)"));
        }
        return length.getAsInt();
    }

    public Task<E> task() {
        return task;
    }

    public HeadedModel model() {
        return model;
    }

    /** The adapter, or null. */
    public @Nullable Adapter adapter() {
        return adapter;
    }

    /** The adapter with its method's settings, or null; null, too, if it is made of others. */
    public AdapterStore.@Nullable Loaded stored() {
        return stored;
    }

    public TextTokenizer tokenizer() {
        return Objects.requireNonNull(tokenizer, "loaded without a tokenizer");
    }

    /** The most tokens of a row, if the caller said it; empty where it was taken from files. */
    public OptionalInt askedLength() {
        return length.asked();
    }

    /** What a user should know about adapter, tokenizer and task. */
    public List<String> notes() {
        return notes;
    }

    @Override
    public void close() {
        if (adapter != null) {
            adapter.close();
        }
        model.close();
    }
}
