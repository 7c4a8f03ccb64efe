package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.GroupOverride;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TaskId;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.NearestName;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Calibration;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.spi.ReplicatedLayers;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.ops.Ops;
import org.peft4j.optim.Optimizer;
import org.peft4j.optim.ParameterGroup;
import org.peft4j.optim.RuleOptimizer;
import org.peft4j.optim.UpdateRule;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.task.Dataset;
import org.peft4j.task.Example;
import org.peft4j.task.Origin;
import org.peft4j.task.Task;
import org.peft4j.task.TaskType;
import org.peft4j.task.TaskTypes;

/** Everything a run needs, read and checked before anything is written: data, model, adapter, parameter groups. */
public final class LoadedRun<E extends Example> implements AutoCloseable {
    /** What is in force: the method is the adapter's where the run goes on from one, the task is decided. */
    public final RunConfig config;

    public final Task<E> task;
    public final Dataset<E> train;
    public final @Nullable Dataset<E> validation;
    public final HeadedModel model;
    public final Adapter adapter;

    /** What applies to each row, in order: the frozen adapters of the run, and the one that is trained. */
    public final List<Adapter> stack;

    public final MethodConfig method;
    public final List<ParameterGroup> groups;
    public final EpochBatches batches;

    /** Of the parameters that are trained apart; null: there are none. */
    public final @Nullable EpochBatches secondBatches;

    public final String baseHash;
    public final List<String> notes;
    private final Base base;
    private final FrozenAdapters frozen;
    private final List<LowRankPair> pairs;

    private LoadedRun(
            RunConfig config,
            TaskType.Prepared<E> prepared,
            HeadedModel model,
            AdapterStore.Loaded adapter,
            FrozenAdapters frozen,
            Base base,
            List<String> notes) {
        this.config = config;
        this.task = prepared.task();
        this.train = prepared.train();
        this.validation = prepared.validation();
        this.model = model;
        this.adapter = adapter.adapter();
        this.base = base;
        this.frozen = frozen;
        stack = frozen.under(this.adapter);
        baseHash = base.opened().hash();
        this.notes = notes;
        method = adapter.config();
        pairs = ChosenOptimizer.pairs(config.training().optimizer(), method, this.adapter);
        groups = groups(config.training(), trained(this.adapter, pairs));
        pairs.forEach(pair -> pair.a().freeze());
        RowHalves halves = halves(config, prepared, this.adapter);
        batches = batches(config, prepared, halves.first());
        secondBatches = halves.second() == null ? null : batches(config, prepared, halves.second());
    }

    private static RowHalves halves(RunConfig config, TaskType.Prepared<?> prepared, Adapter adapter) {
        return RowHalves.of(
                adapter.secondLevel(),
                prepared.train().size(),
                config.training().seed());
    }

    /** The groups of the parameters that are trained apart, or of the others. */
    List<ParameterGroup> groups(boolean apart) {
        Adapter.SecondLevel level = adapter.secondLevel();
        return groups.stream()
                .filter(group -> apart == (level != null && level.group().equals(group.name())))
                .toList();
    }

    /** The model behind a run; own: it was opened for it, and is closed with it. */
    private record Base(OpenedModel opened, boolean own) {
        void close() {
            if (own) {
                opened.close();
            }
        }
    }

    /**
     * Loads a run.
     *
     * @param base an opened model, which stays open; null opens the run's own
     * @param rows where the rows come from
     */
    public static LoadedRun<?> load(RunConfig config, @Nullable OpenedModel base, RunRows rows) throws IOException {
        return load(config, base, rows, () -> false);
    }

    /** @param stop whether a method that looks at rows first shall look no further: loading fails then */
    static LoadedRun<?> load(RunConfig config, @Nullable OpenedModel base, RunRows rows, BooleanSupplier stop)
            throws IOException {
        if (rows.validation() == null && config.training().evaluateEvery() > 0) {
            throw new ConfigException("training.evaluate_every is "
                    + config.training().evaluateEvery()
                    + ", but there are no validation rows to evaluate on; give data.validation, or set it to 0");
        }
        Base behind = base == null
                ? new Base(
                        OpenedModel.open(
                                OpenedModel.configOf(config), config.training().seed()),
                        true)
                : new Base(base, false);
        try {
            return loadOn(behind, config, rows, stop);
        } catch (IOException | RuntimeException | Error e) {
            behind.close();
            throw e;
        }
    }

    private static LoadedRun<?> loadOn(Base base, RunConfig config, RunRows rows, BooleanSupplier stop)
            throws IOException {
        OpenedModel opened = base.opened();
        ModelDirectory directory = opened.directory();
        List<String> notes = new ArrayList<>();
        GivenAdapter given = GivenAdapter.read(config.adapter());
        AdapterFile start = given.file();
        AdapterSettings settings = given.beside();
        if (settings != null) {
            settings.otherBase(opened.hash()).ifPresent(notes::add);
        }
        String trained = TaskNames.trained(start, settings);
        if (trained != null && !trained.equals(config.task().type())) {
            throw new ConfigException("task is " + config.task().type() + ", but the adapter " + config.adapter()
                    + " was trained for " + trained + "; choose that, or train without an adapter to start from");
        }
        checkNewHead(config.task(), start);
        Origin origin = new Origin(opened.model(), directory, start, settings == null ? null : settings.task(), notes);
        TaskType.Prepared<?> prepared;
        RunConfig told = config;
        int maxLength = config.task().maxLength();
        try (TextTokenizer tokenizer = // gone before the first step, unless the base stays open
                base.own() ? TextTokenizer.open(directory, maxLength) : opened.tokenizer(maxLength)) {
            notes.addAll(tokenizer.notes());
            if (config.method() != null) {
                told = config.withMethod(withinTokens(Methods.of(config.chosenMethod()), config, tokenizer));
            }
            if (start == null) {
                told = told.withMethod(inTokens(Methods.of(told.chosenMethod()), told, tokenizer));
            }
            prepared = prepare(TaskTypes.of(config.task()), config.task(), origin, rows, tokenizer);
        }
        return load(told, base, origin, settings, prepared, stop);
    }

    private static <C extends MethodConfig> C inTokens(Method<C> method, RunConfig config, TextTokenizer tokenizer) {
        try {
            return method.inTokens(
                    method.configType().cast(config.chosenMethod()),
                    text -> Arrays.stream(tokenizer.encodeWhole(text)).boxed().toList());
        } catch (IllegalArgumentException e) {
            throw new ConfigException("method." + e.getMessage(), e);
        }
    }

    private static <C extends MethodConfig> C withinTokens(
            Method<C> method, RunConfig config, TextTokenizer tokenizer) {
        try {
            return method.withinTokens(
                    method.configType().cast(config.chosenMethod()),
                    text -> Arrays.stream(tokenizer.encodePlainWhole(text))
                            .boxed()
                            .toList());
        } catch (IllegalArgumentException e) {
            throw new ConfigException("method." + e.getMessage(), e);
        }
    }

    private static <C extends TaskConfig> TaskType.Prepared<?> prepare(
            TaskType<C> type, TaskConfig config, Origin origin, RunRows rows, TextTokenizer tokenizer)
            throws IOException {
        return type.prepare(type.configType().cast(config), origin, rows.train(), rows.validation(), tokenizer);
    }

    private static <E extends Example> LoadedRun<E> load(
            RunConfig config,
            Base base,
            Origin origin,
            @Nullable AdapterSettings beside,
            TaskType.Prepared<E> prepared,
            BooleanSupplier stop)
            throws IOException {
        OpenedModel opened = base.opened();
        Task<E> task = prepared.task();
        List<String> notes = origin.notes();
        HeadedModel model = HeadedModel.behind(opened.model(), task.headKind(), task.headOptions());
        notes.addAll(opened.notes());
        AdapterStore.Loaded adapter = null;
        FrozenAdapters frozen = null;
        try {
            frozen = FrozenAdapters.load(config.frozenAdapters(), opened, task.headKind(), notes);
            if (beside != null) {
                beside.otherAdaptersUnder(frozen.files()).ifPresent(notes::add);
            }
            AdapterFile start = origin.adapter();
            if (start == null) {
                checkBaseOfParts(config.chosenMethod().madeFrom(), opened.hash(), notes);
            }
            adapter = start == null
                    ? attach(Methods.of(config.chosenMethod()), config, model, prepared, frozen, stop)
                    : read(start, config, model.points());
            notes.addAll(adapter.notes());
            SavedModules.checkWritten(model.points(), adapter.config().modulesToSave()); // not only when it is saved
            RunConfig inForce = config.withTask(task.config());
            if (start != null) {
                if (config.method() != null) {
                    notes.addAll(StartingAdapter.differences(config, adapter.config()));
                }
                inForce = inForce.withMethod(adapter.config());
            }
            judge(config, model, adapter, frozen, prepared, notes);
            RowHalves halves = halves(config, prepared, adapter.adapter());
            int[] seconds = halves.second();
            if (seconds != null) {
                notes.add(seconds.length + " of " + prepared.train().size() + " rows train '"
                        + Objects.requireNonNull(adapter.adapter().secondLevel())
                                .group()
                        + "' alone, the others the rest of the adapter");
                if (batches(config, prepared, seconds).inOrder().isEmpty()
                        || batches(config, prepared, halves.first()).inOrder().isEmpty()) {
                    throw new ConfigException("of one row alone nothing can be learned in this task, and "
                            + seconds.length + " of " + prepared.train().size()
                            + " rows would be trained on apart; give more rows, or train all parameters together");
                }
            }
            EpochBatches batches = batches(config, prepared, halves.first());
            warmup(config.training(), batches.totalSteps()).ifPresent(notes::add);
            batches.note().ifPresent(notes::add);
            notes.addAll(begun(adapter.adapter(), batches.totalSteps()));
            LoadedRun<E> run = new LoadedRun<>(inForce, prepared, model, adapter, frozen, base, notes);
            MemoryCheck.ofRun(run);
            return run;
        } catch (IOException | RuntimeException | Error e) {
            if (adapter != null) {
                adapter.adapter().close();
            }
            if (frozen != null) {
                frozen.close();
            }
            model.close();
            throw e;
        }
    }

    /**
     * Refuses what does not go together: rows, settings of training, the task, and an adapter of the method.
     *
     * @param notes collects what a user should know
     */
    private static <E extends Example> void judge(
            RunConfig config,
            HeadedModel model,
            AdapterStore.Loaded loaded,
            FrozenAdapters frozen,
            TaskType.Prepared<E> prepared,
            List<String> notes) {
        Adapter adapter = loaded.adapter();
        List<Adapter> stack = frozen.under(adapter);
        frozen.checkUse(adapter, model.head().points().places());
        HeadKind head = prepared.task().headKind();
        if (!adapter.told().isEmpty() && head != HeadKind.LANGUAGE) {
            throw new ConfigException(
                    "method.type " + Methods.of(loaded.config()).name()
                            + " learns from the labels in its prompt, which a language model alone tells: task.type must be"
                            + " causal-lm, got " + config.task().type());
        }
        List<LowRankPair> pairs = ChosenOptimizer.pairs(config.training().optimizer(), loaded.config(), adapter);
        groups(config.training(), trained(adapter, pairs));
        InvokedTexts.check(head, adapter);
        InvokedTexts.note(adapter, prepared.train()).ifPresent(notes::add);
        check(config.task(), model, stack, prepared.train());
        checkTasks(config, loaded, prepared, notes);
        if (prepared.validation() != null) {
            check(config.task(), model, stack, prepared.validation());
        }
        if (!prepared.task().sumsOverRows()) {
            checkWholeBatches(config, notes);
        }
    }

    /** Tells the adapter how long the run is; returns what a user should know. */
    private static List<String> begun(Adapter adapter, long totalSteps) {
        try {
            return adapter.hooks().stream()
                    .flatMap(hook -> hook.begin(totalSteps).stream())
                    .toList();
        } catch (IllegalArgumentException e) {
            throw new ConfigException("method." + e.getMessage(), e);
        }
    }

    /** Refuses adapters to be mixed that were trained on another base. */
    private static void checkBaseOfParts(List<Path> directories, String hash, List<String> notes) throws IOException {
        for (Path directory : directories) {
            Optional<AdapterSettings> beside = AdapterSettings.read(directory);
            beside.flatMap(AdapterSettings::trainedOnTop).ifPresent(note -> notes.add(directory + ": " + note));
            Optional<String> other = beside.flatMap(settings -> settings.otherBase(hash));
            if (other.isPresent()) {
                throw new ConfigException("method.adapters: " + directory + ": " + other.get()
                        + "; experts must be adapters of the model that mixes them");
            }
        }
    }

    /** For tasks where each row's loss sees the other rows of its batch. */
    private static void checkWholeBatches(RunConfig config, List<String> notes) {
        TrainingConfig training = config.training();
        String why =
                " where each row's loss sees the other rows of its batch: of one row alone nothing can be learned, got ";
        if (training.batchSize() == 1) {
            throw new ConfigException("training.batch_size must be at least 2" + why + 1);
        }
        int two = 4 * config.task().maxLength(); // two rows of two texts
        if (training.batchTokens() > 0 && training.batchTokens() < two) {
            throw new ConfigException("training.batch_tokens must be at least " + two
                    + ", four texts of task.max_length" + why + training.batchTokens());
        }
        if (training.gradientAccumulation() > 1) {
            notes.add("each row's loss sees the other rows of its batch: gradient_accumulation "
                    + training.gradientAccumulation() + " is not the same as a larger batch_size here");
        }
    }

    private static void checkNewHead(TaskConfig task, @Nullable AdapterFile start) {
        boolean newHead = task instanceof SequenceClassificationConfig classes && classes.newHead()
                || task instanceof TokenClassificationConfig tags && tags.newHead();
        if (newHead && start != null) {
            throw new ConfigException("task.new_head is true, but the run goes on from the adapter " + start.directory()
                    + ", whose head it keeps; leave one of them out");
        }
    }

    private static void check(TaskConfig task, HeadedModel model, List<Adapter> stack, Dataset<?> rows) {
        ModelInfo info = model.model().info();
        Adapter adapter = stack.get(stack.size() - 1);
        LoadedTask.checkPlaces(model, adapter);
        for (Adapter under : stack) {
            if (under != adapter && task.maxLength() > under.longestText()) {
                throw new ConfigException("task.max_length must be at most " + under.longestText()
                        + ": so many rows the frozen adapter '" + under.name() + "' has to add to a text's words; got "
                        + task.maxLength());
            }
        }
        if (task.maxLength() > adapter.longestText()) {
            throw new ConfigException("task.max_length must be at most method.max_length, " + adapter.longestText()
                    + ": the method has so many rows to add to a text's words; got " + task.maxLength());
        }
        int taken = stack.stream().mapToInt(Adapter::positions).sum();
        int room = info.maxPositions() - taken;
        if (info.limited() && task.maxLength() > room) {
            throw new ConfigException("task.max_length must be at most " + room + " for this model and method ("
                    + info.maxPositions() + " positions, " + taken + " taken by the method"
                    + (stack.size() > 1 ? " and frozen_adapters" : "") + "), got "
                    + task.maxLength());
        }
        rows.checkVocabulary(info.vocabulary());
    }

    /** Refuses rows whose tasks and the adapter's do not fit. */
    private static void checkTasks(
            RunConfig config, AdapterStore.Loaded loaded, TaskType.Prepared<?> prepared, List<String> notes) {
        Adapter adapter = loaded.adapter();
        String method = Methods.of(loaded.config()).name();
        TaskId said = config.task().taskId();
        if (said != null && adapter.tasks() == 0) {
            throw new ConfigException("task.task_id says which of the adapter's tasks rows are of, but method.type "
                    + method + " has no tasks; leave it out, or take a method that has");
        }
        if (said != null && config.method() != null && adapter.usualTask() > 0) {
            throw new ConfigException("method.task is " + adapter.usualTask()
                    + " for all rows, but task.task_id says which task each row is of; leave one of them out");
        }
        prepared.train().checkTasks(adapter);
        if (prepared.validation() != null) {
            prepared.validation().checkTasks(adapter);
        }
        if (said != null && said.column() != null) {
            Set<Integer> there = prepared.train().tasks();
            List<String> none = IntStream.range(0, adapter.tasks())
                    .filter(task -> !there.contains(task))
                    .mapToObj(String::valueOf)
                    .toList();
            if (!none.isEmpty()) {
                notes.add("no training row is of the adapter's task" + (none.size() == 1 ? " " : "s ")
                        + String.join(", ", none) + ": nothing is learned of "
                        + (none.size() == 1 ? "it" : "them") + " alone");
            }
        }
    }

    private static EpochBatches batches(RunConfig config, TaskType.Prepared<?> prepared, int @Nullable [] numbers) {
        return new EpochBatches(
                config.training(), prepared.train(), numbers, prepared.task().sumsOverRows());
    }

    private static Optional<String> warmup(TrainingConfig training, long steps) {
        long warmup = training.schedule().warmup(steps);
        return warmup <= steps
                ? Optional.empty()
                : Optional.of("training.schedule.warmup_steps " + warmup + " are more than the run's " + steps
                        + " steps: the learning rate never reaches "
                        + training.optimizer().learningRate());
    }

    private static AdapterStore.Loaded read(AdapterFile start, RunConfig config, Points points) throws IOException {
        MethodConfig wanted = config.method();
        AdapterStore.Loaded loaded = AdapterStore.read(start, "default", points, wanted);
        if (wanted != null && Methods.of(loaded.config()) != Methods.of(wanted)) {
            loaded.adapter().close();
            throw new ConfigException("method.type is " + Methods.of(wanted).name() + ", but the adapter "
                    + start.directory() + " is " + Methods.of(loaded.config()).name()
                    + "; leave method out to go on with it");
        }
        return loaded;
    }

    private static <C extends MethodConfig, E extends Example> AdapterStore.Loaded attach(
            Method<C> method,
            RunConfig config,
            HeadedModel model,
            TaskType.Prepared<E> prepared,
            FrozenAdapters frozen,
            BooleanSupplier stop) {
        Points points = model.points();
        boolean withHead = prepared.task().trainsHead();
        MethodConfig chosen = config.chosenMethod();
        List<String> saved = new ArrayList<>(chosen.modulesToSave());
        for (String name : saved) {
            if (SavedModules.of(points, List.of(name)).isEmpty()) {
                throw new ConfigException("method.modules_to_save: '" + name + "' is no module of "
                        + points.architecture() + NearestName.hint(name, points.modules()));
            }
        }
        points.linears().stream()
                .filter(point -> withHead && point.head() && !saved.contains(point.path()))
                .forEach(point -> saved.add(point.path()));
        points.fresh().stream().filter(module -> !saved.contains(module)).forEach(saved::add);
        C own = method.configType().cast(chosen.withModulesToSave(saved));
        long seed = config.training().seed();
        try {
            ReplicatedLayers.check(own, points);
            Calibration<C> calibration = method.calibration(own, points, seed).orElse(null);
            if (calibration != null) {
                try (calibration) {
                    C plain = calibration.withoutData();
                    try (Adapter like = method.attach("default", plain, points, seed)) { // looking may take long
                        judge(
                                config,
                                model,
                                new AdapterStore.Loaded(like, plain, List.of()),
                                frozen,
                                prepared,
                                new ArrayList<>());
                    }
                    return FirstLook.attach(calibration, config, model, prepared, frozen, stop);
                }
            }
            MemoryCheck.ofAdapter(method.parameterCount(own, points), points);
            Adapter adapter = method.attach("default", own, points, seed);
            List<String> notes = method.inside(adapter).stream()
                    .flatMap(part -> part.notes().stream()
                            .map(note -> "adapter '" + part.adapter().name() + "': " + note))
                    .toList();
            return new AdapterStore.Loaded(adapter, own, notes);
        } catch (IllegalArgumentException e) { // settings that only the model shows to be wrong
            throw new ConfigException(String.valueOf(e.getMessage()), e);
        }
    }

    /** What stands beside the adapter. */
    public AdapterSettings settings() {
        return new AdapterSettings(task.config().besideAdapter(), baseHash, frozen.files());
    }

    /** An optimiser that the run's settings choose, for some of its groups; the caller closes it. */
    public Optimizer optimizer(List<ParameterGroup> of) {
        return new RuleOptimizer(rule(), of);
    }

    /** Without tensors. */
    UpdateRule rule() {
        return ChosenOptimizer.rule(config.training().optimizer(), pairs);
    }

    /** How many numbers are trained. */
    public long trained() {
        return groups.stream()
                .flatMap(group -> group.parameters().stream())
                .mapToLong(Parameter::elements)
                .sum();
    }

    /** The parameters that stay as they are are left out. */
    private static List<Parameter> trained(Adapter adapter, List<LowRankPair> pairs) {
        List<Parameter> trained = new ArrayList<>(adapter.parameters().values());
        pairs.forEach(pair -> trained.remove(pair.a()));
        return trained;
    }

    private static List<ParameterGroup> groups(TrainingConfig training, List<Parameter> trained) {
        Map<String, List<Parameter>> byName = new LinkedHashMap<>();
        for (Parameter parameter : trained) {
            byName.computeIfAbsent(parameter.group(), name -> new ArrayList<>()).add(parameter);
        }
        for (String name : training.groups().keySet()) {
            if (!byName.containsKey(name)) {
                throw new ConfigException("training.groups: '" + name + "' is no parameter group of this run"
                        + NearestName.hint(name, byName.keySet()) + "; they are " + byName.keySet());
            }
        }
        Double usual = training.optimizer().learningRate();
        List<ParameterGroup> groups = new ArrayList<>();
        byName.forEach((name, parameters) -> {
            GroupOverride own = training.groups().get(name);
            Double rate = own == null ? null : own.learningRate();
            Double decay = own == null ? null : own.weightDecay();
            groups.add(new ParameterGroup(
                    name,
                    rate != null ? rate : usual != null ? usual : Double.NaN, // of an optimiser that makes its own
                    decay == null ? training.optimizer().weightDecay() : decay,
                    parameters));
        });
        return groups;
    }

    /** Numbers of all frozen tensors. One of two names (a tied head) counts once. */
    private long frozenNumbers() {
        Map<Long, Long> sizes = new HashMap<>();
        model.points()
                .tensors()
                .values()
                .forEach(point -> sizes.put(
                        point.value().data_ptr().address(), point.value().numel()));
        return sizes.values().stream().mapToLong(Long::longValue).sum();
    }

    /** Numbers of the whole model, adapter included. */
    public long modelParameters() {
        long replaced = stack.stream()
                .flatMap(one -> one.replacements().values().stream())
                .distinct() // one may stand in the place of a tensor of two names
                .mapToLong(Parameter::elements)
                .sum();
        return frozenNumbers() - replaced + adapter.elements() + frozenElements();
    }

    /** Numbers of the frozen adapters. */
    long frozenElements() {
        return stack.stream()
                .filter(one -> one != adapter)
                .mapToLong(Adapter::elements)
                .sum();
    }

    /** Paths of the tensors in whose place adapters have their own. */
    Set<String> replaced() {
        return stack.stream()
                .flatMap(one -> one.replacements().keySet().stream())
                .collect(Collectors.toSet());
    }

    @Override
    public void close() {
        adapter.close();
        frozen.close();
        model.close();
        base.close();
        Ops.freeKeptBytes(model.model().device()); // no other step takes what this run's steps did
    }
}
