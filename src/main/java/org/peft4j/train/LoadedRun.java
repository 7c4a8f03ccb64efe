package org.peft4j.train;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.DataConfig;
import org.peft4j.config.GroupOverride;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.Dataset;
import org.peft4j.data.LabelledTexts;
import org.peft4j.data.Labels;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.BaseHash;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.NearestName;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.optim.ParameterGroup;
import org.peft4j.run.files.AdapterSettings;

/** Everything a run needs, read and checked before anything is written: data, model, adapter, parameter groups. */
public final class LoadedRun implements AutoCloseable {
    /** What is in force: the method is the adapter's where the run goes on from one. */
    public final RunConfig config;

    public final Labels labels;
    public final Dataset train;
    public final @Nullable Dataset validation;
    public final HeadedModel model;
    public final Adapter adapter;
    public final MethodConfig method;
    public final List<ParameterGroup> groups;
    final String baseHash;
    public final List<String> notes;

    private LoadedRun(
            RunConfig config,
            Labels labels,
            Dataset train,
            @Nullable Dataset validation,
            HeadedModel model,
            AdapterStore.Loaded adapter,
            String baseHash,
            List<String> notes) {
        this.config = config;
        this.labels = labels;
        this.train = train;
        this.validation = validation;
        this.model = model;
        this.adapter = adapter.adapter();
        this.baseHash = baseHash;
        this.notes = notes;
        method = adapter.config();
        groups = groups(config.training(), this.adapter);
    }

    public static LoadedRun load(RunConfig config) throws IOException {
        DataConfig data = config.data();
        ModelDirectory directory = ModelDirectory.open(config.model().path());
        String baseHash = BaseHash.of(directory);
        List<String> notes = new ArrayList<>();
        AdapterFile start = config.adapter() == null ? null : AdapterFiles.read(config.adapter());
        AdapterSettings settings =
                start == null ? null : AdapterSettings.read(start.directory()).orElse(null);
        if (settings != null) {
            settings.otherBase(baseHash).ifPresent(notes::add);
        }
        LabelledTexts rows;
        LabelledTexts validationRows;
        try (TextTokenizer tokenizer = TextTokenizer.open(directory, data.maxLength())) {
            notes.addAll(tokenizer.notes());
            rows = LabelledTexts.read(data.train(), data.text(), data.label(), tokenizer);
            validationRows = data.validation() == null
                    ? null
                    : LabelledTexts.read(data.validation(), data.text(), data.label(), tokenizer);
        }
        boolean newHead = newHead(config, start);
        OutputLabels outputs = new OutputLabels(directory, start, settings);
        Labels labels = outputs.forTraining(config.labels(), newHead, rows, notes);
        Dataset train = rows.dataset(labels);
        Dataset validation = validationRows == null ? null : validationRows.dataset(labels);
        HeadedModel model = HeadedModel.open(
                directory,
                options(config),
                HeadKind.SEQUENCE,
                new HeadOptions(labels.size(), newHead || outputs.adapterHead() > 0));
        notes.addAll(model.model().notes());
        AdapterStore.Loaded adapter = null;
        try {
            adapter = start == null
                    ? attach(Methods.of(config.chosenMethod()), config, model.points())
                    : read(start, config, model.points());
            notes.addAll(adapter.notes());
            RunConfig inForce = start == null ? config : config.withMethod(adapter.config());
            if (start != null && config.method() != null) {
                notes.addAll(StartingAdapter.differences(config, adapter.config()));
            }
            check(data, model, adapter.adapter(), train);
            if (validation != null) {
                check(data, model, adapter.adapter(), validation);
            }
            warmup(config.training(), train.size()).ifPresent(notes::add);
            return new LoadedRun(inForce, labels, train, validation, model, adapter, baseHash, notes);
        } catch (IOException | RuntimeException e) {
            if (adapter != null) {
                adapter.adapter().close();
            }
            model.close();
            throw e;
        }
    }

    private static ModelOptions options(RunConfig config) {
        boolean dropout = config.model().dropout() == ModelConfig.Dropout.CONFIG;
        boolean bfloat16 = config.training().dtype() == TrainingConfig.Dtype.BFLOAT16;
        return new ModelOptions(bfloat16, dropout, config.training().seed());
    }

    private static boolean newHead(RunConfig config, @Nullable AdapterFile start) {
        boolean newHead = config.task() instanceof SequenceClassificationConfig task && task.newHead();
        if (newHead && start != null) {
            throw new ConfigException("task.new_head is true, but the run goes on from the adapter " + start.directory()
                    + ", whose head it keeps; leave one of them out");
        }
        return newHead;
    }

    private static void check(DataConfig data, HeadedModel model, Adapter adapter, Dataset rows) {
        int room = model.model().info().maxPositions() - adapter.positions();
        if (data.maxLength() > room) {
            throw new ConfigException("data.max_length must be at most " + room + " for this model and method ("
                    + model.model().info().maxPositions() + " positions, " + adapter.positions()
                    + " taken by the method), got "
                    + data.maxLength());
        }
        rows.checkVocabulary(model.model().info().vocabulary());
    }

    private static Optional<String> warmup(TrainingConfig training, int rows) {
        long steps = training.totalSteps(rows);
        return training.warmupSteps() <= steps
                ? Optional.empty()
                : Optional.of("training.warmup_steps " + training.warmupSteps() + " are more than the run's " + steps
                        + " steps: the learning rate never reaches " + training.learningRate());
    }

    private static AdapterStore.Loaded read(AdapterFile start, RunConfig config, Points points) throws IOException {
        AdapterStore.Loaded loaded = AdapterStore.read(start, "default", points);
        MethodConfig wanted = config.method();
        if (wanted != null && loaded.config().peftType() != wanted.peftType()) {
            loaded.adapter().close();
            throw new ConfigException("method.type is " + wanted.peftType().yamlName() + ", but the adapter "
                    + start.directory() + " is " + loaded.config().peftType().yamlName()
                    + "; leave method out to go on with it");
        }
        return loaded;
    }

    private static <C extends MethodConfig> AdapterStore.Loaded attach(
            Method<C> method, RunConfig config, Points points) {
        MethodConfig chosen = config.chosenMethod();
        List<String> saved = new ArrayList<>(chosen.modulesToSave());
        for (String name : saved) {
            if (SavedModules.of(points, List.of(name)).isEmpty()) {
                throw new ConfigException("method.modules_to_save: '" + name + "' is no module of "
                        + points.architecture() + NearestName.hint(name, points.modules()));
            }
        }
        points.linears().stream()
                .filter(point -> point.head() && !saved.contains(point.path()))
                .forEach(point -> saved.add(point.path()));
        points.fresh().stream().filter(module -> !saved.contains(module)).forEach(saved::add);
        C own = method.configType().cast(chosen.withModulesToSave(saved));
        try {
            Adapter adapter =
                    method.attach("default", own, points, config.training().seed());
            return new AdapterStore.Loaded(adapter, own, List.of());
        } catch (IllegalArgumentException e) { // settings that only the model shows to be wrong
            throw new ConfigException(String.valueOf(e.getMessage()), e);
        }
    }

    /** What stands beside the adapter. */
    public AdapterSettings settings() {
        DataConfig data = config.data();
        return new AdapterSettings(labels.names(), data.maxLength(), data.text(), data.label(), baseHash);
    }

    /** How many texts to train on have each label, in the order of the outputs. */
    public Map<String, Long> labelCounts() {
        long[] counts = new long[labels.size()];
        train.examples().forEach(example -> counts[example.label()]++);
        Map<String, Long> byName = new LinkedHashMap<>();
        for (int i = 0; i < counts.length; i++) {
            byName.put(labels.names().get(i), counts[i]);
        }
        return byName;
    }

    private static List<ParameterGroup> groups(TrainingConfig training, Adapter adapter) {
        Map<String, List<Parameter>> byName = new LinkedHashMap<>();
        for (Parameter parameter : adapter.parameters().values()) {
            byName.computeIfAbsent(parameter.group(), name -> new ArrayList<>()).add(parameter);
        }
        for (String name : training.groups().keySet()) {
            if (!byName.containsKey(name)) {
                throw new ConfigException("training.groups: '" + name + "' is no parameter group of this run"
                        + NearestName.hint(name, byName.keySet()) + "; they are " + byName.keySet());
            }
        }
        List<ParameterGroup> groups = new ArrayList<>();
        byName.forEach((name, parameters) -> {
            GroupOverride own = training.groups().get(name);
            Double rate = own == null ? null : own.learningRate();
            Double decay = own == null ? null : own.weightDecay();
            groups.add(new ParameterGroup(
                    name,
                    rate == null ? training.learningRate() : rate,
                    decay == null ? training.weightDecay() : decay,
                    parameters));
        });
        return groups;
    }

    /** Numbers of the whole model, adapter included. */
    public long modelParameters() {
        long frozen = model.points().tensors().values().stream()
                .mapToLong(point -> point.value().numel())
                .sum();
        long replaced = adapter.replacements().values().stream()
                .mapToLong(Parameter::elements)
                .sum();
        return frozen - replaced + adapter.elements();
    }

    @Override
    public void close() {
        adapter.close();
        model.close();
    }
}
