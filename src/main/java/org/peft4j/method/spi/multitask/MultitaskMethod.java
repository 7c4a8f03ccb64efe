package org.peft4j.method.spi.multitask;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.PromptSource;
import org.peft4j.method.multitask.SourceTasks;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PromptStarts;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;

/** Multitask prompt tuning (Wang et al. 2023; Hugging Face PEFT): the rows of a task are shared ones times a low-rank matrix. */
public final class MultitaskMethod implements Method<MultitaskPromptConfig> {
    /** C of each task, [tasks, P, ranks]. */
    static final String COLUMNS = "prefix_task_cols";

    /** R of each task, [tasks, ranks, d]. */
    static final String ROWS = "prefix_task_rows";

    /** PEFT is told the task of each row by its caller; an adapter here knows it, where rows do not say it. */
    private static final String TASK = "task";

    private static final double DEVIATION = 0.02;
    private static final String INIT = "prompt_tuning_init";
    private static final String SOURCE_PATH = "prompt_tuning_init_state_dict_path";
    private static final String SOURCE_TASK = "prompt_tuning_init_task";

    /** Names of PEFT for what is taken of a source. */
    private static final Map<SourceTasks, String> TAKEN = Map.of(
            SourceTasks.AVERAGE, "AVERAGE_SOURCE_TASKS",
            SourceTasks.EXACT, "EXACT_SOURCE_TASK",
            SourceTasks.SHARED, "ONLY_SOURCE_SHARED");

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(SoftPrompt.KEYS)
            .all(PromptStarts.KEYS)
            .obeyed("num_ranks", "num_tasks", TASK)
            .harmless("where first values came from, which the file's tensors replace", SOURCE_PATH, SOURCE_TASK)
            .build();

    @Override
    public String name() {
        return "multitask-prompt-tuning";
    }

    @Override
    public String peftType() {
        return "MULTITASK_PROMPT_TUNING";
    }

    @Override
    public MultitaskPromptConfig defaults() {
        return MultitaskPromptConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        Map<String, String> renamed = new LinkedHashMap<>(PromptStarts.RENAMED);
        renamed.put("num_tasks", "tasks");
        renamed.put("num_ranks", "ranks");
        renamed.put("task_ids", "task");
        renamed.put(SOURCE_PATH, "source_path");
        renamed.put(SOURCE_TASK, "source_task");
        return renamed;
    }

    @Override
    public MultitaskPromptConfig inTokens(MultitaskPromptConfig config, Function<String, List<Integer>> encode) {
        return config.withStart(PromptStarts.inTokens(config.start(), encode));
    }

    @Override
    public Adapter attach(String name, MultitaskPromptConfig config, Points points, long seed) {
        int count = config.virtualTokens();
        Adapter adapter = build(
                        name,
                        config,
                        points,
                        seed,
                        () -> PromptStarts.rows(config.start(), count, points, seed, SoftPrompt.TABLE))
                .build();
        if (config.source().sourceTasks() != SourceTasks.NONE) {
            try {
                SourcePrompts.into(adapter, config);
            } catch (RuntimeException e) {
                adapter.close();
                throw e;
            }
        }
        return adapter;
    }

    private static Adapter.Builder build(
            String name, MultitaskPromptConfig config, Points points, long seed, Supplier<Tensor> rows) {
        long tasks = config.factors().tasks();
        long ranks = config.factors().ranks();
        long count = config.virtualTokens();
        long width = SoftPrompt.point(points).width();
        Parameter shared = Parameter.of(SoftPrompt.TABLE, SoftPrompt.GROUP, rows);
        Parameter c = Parameter.of(
                COLUMNS, SoftPrompt.GROUP, () -> Init.normal(seed, COLUMNS, DEVIATION, tasks, count, ranks));
        Parameter r =
                Parameter.of(ROWS, SoftPrompt.GROUP, () -> Init.normal(seed, ROWS, DEVIATION, tasks, ranks, width));
        Adapter.Builder builder = Adapter.builder(name, points.device())
                .parameter(shared)
                .parameter(c)
                .parameter(r);
        int usual = config.factors().task();
        SoftPrompt.claim(
                builder.tasks(config.factors().tasks(), usual),
                new MultitaskPrompt(shared, c, r, usual),
                points,
                config.modulesToSave());
        return builder;
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public MultitaskPromptConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new MultitaskPromptConfig(
                    config.count("num_virtual_tokens", 0),
                    PromptStarts.read(config),
                    new MultitaskPromptConfig.Factors(
                            config.count("num_tasks", 1), config.count("num_ranks", 1), config.count(TASK, 0)),
                    source(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static PromptSource source(PeftConfigReader config) throws MalformedFileException {
        String path = config.text(SOURCE_PATH);
        for (Map.Entry<SourceTasks, String> taken : TAKEN.entrySet()) {
            if (path != null && taken.getValue().equals(config.get(INIT))) {
                try {
                    return new PromptSource(taken.getKey(), Path.of(path), config.count(SOURCE_TASK, 0));
                } catch (InvalidPathException e) {
                    return PromptSource.NONE; // of another system
                }
            }
        }
        return PromptSource.NONE;
    }

    @Override
    public MultitaskPromptConfig goingOn(MultitaskPromptConfig file, MultitaskPromptConfig wanted, List<String> notes) {
        int tasks = file.factors().tasks();
        int task = wanted.factors().task();
        if (task >= tasks) {
            throw new IllegalArgumentException(
                    "task must be 0 to " + (tasks - 1) + ", one of the adapter's " + tasks + " tasks, got " + task);
        }
        if (task != file.factors().task()) {
            notes.add("the run is of task " + task + " of the adapter, which was saved for task "
                    + file.factors().task());
        }
        return file.withTask(task);
    }

    @Override
    public Adapter read(String name, MultitaskPromptConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        return SoftPrompt.read(
                build(name, config, points, 0, SoftPrompt.zeros(config.virtualTokens(), points)), file, points, notes);
    }

    /** PEFT passes over {@code task}, with a warning; it is there only where it says something. */
    @Override
    public Map<String, Object> fileConfig(MultitaskPromptConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>(SoftPrompt.fileConfig(config.virtualTokens(), points));
        PromptStarts.write(config.start(), file);
        PromptSource source = config.source();
        if (source.sourceTasks() != SourceTasks.NONE) {
            file.put(INIT, TAKEN.get(source.sourceTasks()));
        }
        file.put(
                SOURCE_PATH,
                source.sourcePath() == null ? null : source.sourcePath().toString());
        file.put(SOURCE_TASK, source.sourceTask());
        file.put("num_ranks", config.factors().ranks());
        file.put("num_tasks", config.factors().tasks());
        if (config.factors().task() > 0) {
            file.put(TASK, config.factors().task());
        }
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(MultitaskPromptConfig config, Adapter adapter) {
        return SoftPrompt.parameters(adapter);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(SoftPrompt.mergeRefusal());
    }

    @Override
    public long parameterCount(MultitaskPromptConfig config, Points points) {
        long width = SoftPrompt.point(points).width();
        long factors = config.factors().ranks() * (config.virtualTokens() + width);
        return config.virtualTokens() * width
                + config.factors().tasks() * factors
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "P rows in front of each text, shared by tasks, times a low-rank matrix of each task's own";
    }

    @Override
    public String settings(MultitaskPromptConfig config) {
        return config.virtualTokens() + " virtual tokens, " + config.factors().tasks()
                + (config.factors().tasks() == 1 ? " task" : " tasks");
    }
}
