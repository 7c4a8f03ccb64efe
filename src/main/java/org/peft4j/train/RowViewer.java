package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.data.Row;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.chat.ChatFormat;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.task.ShownRow;
import org.peft4j.task.TaskOfRow;
import org.peft4j.task.TaskType;
import org.peft4j.task.TaskTypes;
import org.peft4j.task.language.CausalLmType;

/** Rows as they will be trained, without the model's weights. Safe from many threads until closed. */
public final class RowViewer implements AutoCloseable {
    private static final int WHOLE = 1 << 24; // more tokens than a row has

    private final TaskConfig task;
    private final ShownRow.Viewer viewer;
    private final TextTokenizer tokenizer;

    private RowViewer(TaskConfig task, ShownRow.Viewer viewer, TextTokenizer tokenizer) {
        this.task = task;
        this.viewer = viewer;
        this.tokenizer = tokenizer;
    }

    /**
     * For a model and adapter.
     *
     * @param adapter the adapter's directory, or null
     * @param type name of the task; null for the adapter's, else language modelling
     * @param settings of the task, over those that stand beside the adapter; rows are cut where {@code max_length} is among them
     */
    public static RowViewer open(Path model, @Nullable Path adapter, @Nullable String type, Map<String, ?> settings)
            throws IOException {
        ModelDirectory directory = ModelDirectory.open(model);
        GivenAdapter given = GivenAdapter.read(adapter);
        AdapterFile file = given.file();
        AdapterSettings beside = given.beside();
        boolean said = type != null || TaskNames.trained(file, beside) != null;
        String name = TaskNames.choose(directory, file, beside, said ? type : CausalLmConfig.TYPE);
        TaskConfig task = LoadedTask.config(name, beside, settings);
        return open(directory, file, task, settings.containsKey("max_length") ? task.maxLength() : WHOLE);
    }

    /**
     * Whether a language model has a chat template, its own, its adapter's or one that the settings name; reads no weights.
     *
     * @throws org.peft4j.error.ConfigException if it cannot be read, or the adapter does another task
     */
    public static boolean hasTemplate(Path model, @Nullable Path adapter, Map<String, ?> settings) throws IOException {
        ModelDirectory directory = ModelDirectory.open(model);
        GivenAdapter given = GivenAdapter.read(adapter);
        AdapterFile file = given.file();
        AdapterSettings beside = given.beside();
        String name = TaskNames.choose(directory, file, beside, CausalLmConfig.TYPE);
        ChatFormat format =
                CausalLmType.format((CausalLmConfig) LoadedTask.config(name, beside, settings), directory, file);
        if (format.isThere()) {
            format.template(false); // refuses one that cannot be read
        }
        return format.isThere();
    }

    /** For a run: rows are cut as it cuts them. */
    public static RowViewer of(RunConfig config) throws IOException {
        AdapterFile adapter = config.adapter() == null ? null : AdapterFiles.read(config.adapter());
        return open(
                ModelDirectory.open(config.model().path()),
                adapter,
                config.task(),
                config.task().maxLength());
    }

    private static RowViewer open(
            ModelDirectory directory, @Nullable AdapterFile adapter, TaskConfig task, int maxLength)
            throws IOException {
        TextTokenizer tokenizer = TextTokenizer.open(directory, maxLength);
        try {
            return new RowViewer(task, viewer(TaskTypes.of(task), task, directory, adapter), tokenizer);
        } catch (IOException | RuntimeException e) {
            tokenizer.close();
            throw e;
        }
    }

    private static <C extends TaskConfig> ShownRow.Viewer viewer(
            TaskType<C> type, TaskConfig task, ModelDirectory directory, @Nullable AdapterFile adapter)
            throws IOException {
        return type.viewer(type.configType().cast(task), directory, adapter);
    }

    /** The task's settings. */
    public TaskConfig task() {
        return task;
    }

    /** The columns that a file without a header has, such as CoNLL's words and tags. */
    public List<String> columns() {
        return task instanceof TokenClassificationConfig tags ? List.of(tags.words(), tags.tags()) : List.of();
    }

    public TextTokenizer tokenizer() {
        return tokenizer;
    }

    /**
     * Shows a row.
     *
     * @throws org.peft4j.error.MalformedFileException if it is not what the task reads, or the chat template refuses it
     */
    public ShownRow show(Row row) {
        TaskOfRow.of(row, task); // refuses a row that says none
        return viewer.show(List.of(row), tokenizer).get(0);
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
