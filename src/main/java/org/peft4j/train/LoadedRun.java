package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Dataset;
import org.peft4j.data.Labels;
import org.peft4j.data.TextTokenizer;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.NearestName;
import org.peft4j.method.AdapterStore;
import org.peft4j.method.Method;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.Methods;
import org.peft4j.method.SavedModules;
import org.peft4j.model.ClassificationModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Models;
import org.peft4j.nn.Adapter;
import org.peft4j.nn.Parameter;
import org.peft4j.nn.Points;
import org.peft4j.optim.ParameterGroup;

/** Everything a run needs, read and checked before anything is written: data, model, adapter, parameter groups. */
final class LoadedRun implements AutoCloseable {
    final RunConfig config;
    final Labels labels;
    final Dataset train;
    final @Nullable Dataset validation;
    final ClassificationModel model;
    final Adapter adapter;
    final MethodConfig method;
    final List<ParameterGroup> groups;
    final List<String> notes = new ArrayList<>();

    private LoadedRun(
            RunConfig config,
            Labels labels,
            Dataset train,
            @Nullable Dataset validation,
            ClassificationModel model,
            AdapterStore.Loaded adapter) {
        this.config = config;
        this.labels = labels;
        this.train = train;
        this.validation = validation;
        this.model = model;
        this.adapter = adapter.adapter();
        method = adapter.config();
        notes.addAll(adapter.notes());
        groups = groups(config.training(), this.adapter);
    }

    static LoadedRun load(RunConfig config) throws IOException {
        DataConfig data = config.data();
        ModelDirectory directory = ModelDirectory.open(config.model().path());
        Path tokenizerFile = directory.tokenizerFile();
        Labels labels = config.labels().isEmpty()
                ? Labels.find(data.train(), data.text(), data.label())
                : Labels.of(config.labels());
        boolean dropout = config.model().dropout() == ModelConfig.Dropout.CONFIG;
        boolean bfloat16 = config.training().dtype() == TrainingConfig.Dtype.BFLOAT16;
        ModelOptions options =
                new ModelOptions(bfloat16, dropout, config.training().seed());
        ClassificationModel model = Models.family(directory).classification(directory, labels.size(), options);
        AdapterStore.Loaded adapter = null;
        try {
            adapter = adapter(config, model.points());
            int room = model.maxPositions() - adapter.adapter().positions();
            if (data.maxLength() > room) {
                throw new IllegalArgumentException(
                        "data.max_length must be at most " + room + " for this model and method"
                                + " (" + model.maxPositions() + " positions, "
                                + adapter.adapter().positions()
                                + " taken by the method), got " + data.maxLength());
            }
            try (TextTokenizer tokenizer = TextTokenizer.open(tokenizerFile, data.maxLength())) {
                Dataset train = Dataset.read(data.train(), data.text(), data.label(), labels, tokenizer);
                Dataset validation = data.validation() == null
                        ? null
                        : Dataset.read(data.validation(), data.text(), data.label(), labels, tokenizer);
                return new LoadedRun(config, labels, train, validation, model, adapter);
            }
        } catch (IOException | RuntimeException e) {
            if (adapter != null) {
                adapter.adapter().close();
            }
            model.close();
            throw e;
        }
    }

    private static AdapterStore.Loaded adapter(RunConfig config, Points points) throws IOException {
        if (config.adapter() == null) {
            return attach(Methods.of(config.method()), config, points);
        }
        AdapterStore.Loaded loaded = AdapterStore.read(config.adapter(), "default", points);
        if (loaded.config().peftType() != config.method().peftType()) {
            loaded.adapter().close();
            throw new IllegalArgumentException(
                    "method.type is " + config.method().peftType().yamlName() + " but adapter " + config.adapter()
                            + " is " + loaded.config().peftType().yamlName());
        }
        return loaded;
    }

    private static <C extends MethodConfig> AdapterStore.Loaded attach(
            Method<C> method, RunConfig config, Points points) {
        List<String> saved = new ArrayList<>(config.method().modulesToSave());
        for (String name : saved) {
            if (SavedModules.of(points, List.of(name)).isEmpty()) {
                throw new IllegalArgumentException("method.modules_to_save: '" + name + "' is no module of "
                        + points.architecture() + NearestName.hint(name, points.modules()));
            }
        }
        points.linears().stream()
                .filter(point -> point.head() && !saved.contains(point.path()))
                .forEach(point -> saved.add(point.path()));
        points.fresh().stream().filter(module -> !saved.contains(module)).forEach(saved::add);
        C own = method.configType().cast(config.method().withModulesToSave(saved));
        Adapter adapter =
                method.attach("default", own, points, config.training().seed());
        return new AdapterStore.Loaded(adapter, own, List.of());
    }

    private static List<ParameterGroup> groups(TrainingConfig training, Adapter adapter) {
        Map<String, List<Parameter>> byName = new LinkedHashMap<>();
        for (Parameter parameter : adapter.parameters().values()) {
            byName.computeIfAbsent(parameter.group(), name -> new ArrayList<>()).add(parameter);
        }
        for (String name : training.groups().keySet()) {
            if (!byName.containsKey(name)) {
                throw new IllegalArgumentException("training.groups: '" + name + "' is no parameter group of this run"
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
    long modelParameters() {
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
