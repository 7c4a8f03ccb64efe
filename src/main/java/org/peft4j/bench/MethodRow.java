package org.peft4j.bench;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.LoraFaConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;

/**
 * What is compared with LoRA: a method with its defaults, one of its named configurations, a variant of LoRA, or what a run file
 * says. Methods with layers of their choice get LoRA's.
 *
 * @param name of the row
 * @param method its {@code type}; empty for a run that goes on from an adapter
 * @param alias another name of an earlier row's settings, which is measured only where it is asked for
 * @param equalTargets whether it adapts LoRA's layers because it was told to; else its own
 * @param runs what is trained, the first of them that fits the model; each fails if settings do not go together
 */
record MethodRow(String name, String method, boolean alias, boolean equalTargets, List<Try> runs) {
    /**
     * A run that may fit.
     *
     * @param changed settings that are not the row's own, because those do not fit every model
     */
    record Try(Map<String, Object> changed, Supplier<RunConfig> run) {}

    /** The row that all others are compared with. */
    static final String LORA = "lora";

    private static final Map<String, UnaryOperator<LoraConfig>> LORA_VARIANTS = variants();

    /** An optimiser's row: LoRA itself, of which B alone is trained. */
    private static final String LORA_FA = "lora-fa";

    private static Map<String, UnaryOperator<LoraConfig>> variants() {
        Map<String, UnaryOperator<LoraConfig>> variants = new LinkedHashMap<>();
        variants.put("rslora", lora -> lora.toBuilder().rslora(true).build());
        variants.put("dora", lora -> lora.toBuilder().dora(true).build());
        variants.put("pissa", lora -> lora.toBuilder().init(InitLora.PISSA).build());
        variants.put("olora", lora -> lora.toBuilder().init(InitLora.OLORA).build());
        return variants;
    }

    /**
     * The rows beside LoRA's.
     *
     * @param reference a run of LoRA
     * @param names of rows, or of methods, whose configurations they mean; empty: all
     * @param added more rows by their names
     * @throws ConfigException if a name means nothing, or two things
     */
    static List<MethodRow> of(RunConfig reference, List<String> names, Map<String, RunConfig> added) {
        LoraConfig lora = lora(reference);
        List<MethodRow> rows = new ArrayList<>(chosen(all(reference, lora), names));
        Set<String> taken = new LinkedHashSet<>(Set.of(LORA));
        rows.forEach(row -> taken.add(row.name()));
        added.forEach((name, run) -> {
            if (!taken.add(name)) {
                throw new ConfigException("a run file's row is named '" + name + "' after it, but another row is called"
                        + " so, too; rename the file, or leave the other row out");
            }
            rows.add(added(reference, name, run));
        });
        return rows;
    }

    static LoraConfig lora(RunConfig reference) {
        if (reference.adapter() == null && reference.chosenMethod() instanceof LoraConfig lora) {
            return lora;
        }
        throw new IllegalArgumentException("methods are compared with LoRA: method.type must be lora, and no adapter to"
                + " go on from, got "
                + (reference.method() == null
                        ? "adapter " + reference.adapter()
                        : Methods.of(reference.chosenMethod()).name()));
    }

    private static List<MethodRow> chosen(List<MethodRow> all, List<String> names) {
        if (names.isEmpty()) {
            return all.stream().filter(row -> !row.alias()).toList();
        }
        Set<MethodRow> chosen = new LinkedHashSet<>();
        for (String name : names) {
            List<MethodRow> named =
                    all.stream().filter(row -> row.name().equals(name)).toList();
            if (named.isEmpty() && !name.equals(LORA)) {
                named = all.stream()
                        .filter(row -> row.method().equals(name) && !row.alias())
                        .toList();
            }
            if (named.isEmpty() && !name.equals(LORA)) {
                Stream<String> known = Stream.concat(
                        Stream.of(LORA), all.stream().flatMap(row -> Stream.of(row.name(), row.method())));
                throw new ConfigException("methods: '" + name + "' is none; known: "
                        + String.join(", ", known.distinct().toList()));
            }
            chosen.addAll(named);
        }
        return List.copyOf(chosen);
    }

    private static List<MethodRow> all(RunConfig reference, LoraConfig lora) {
        List<MethodRow> rows = new ArrayList<>();
        LORA_VARIANTS.forEach(
                (name, variant) -> rows.add(plain(name, LORA, true, () -> reference.withMethod(variant.apply(lora)))));
        rows.add(plain(LORA_FA, LORA, true, () -> loraFa(reference)));
        for (Method<?> method : Methods.all()) {
            if (!method.name().equals(LORA)) {
                rows.addAll(of(method, reference, lora.layers()));
            }
        }
        return rows;
    }

    private static MethodRow plain(String name, String method, boolean equalTargets, Supplier<RunConfig> run) {
        return new MethodRow(name, method, false, equalTargets, List.of(new Try(Map.of(), run)));
    }

    private static RunConfig loraFa(RunConfig reference) {
        TrainingConfig training = reference.training();
        Double rate = training.optimizer().learningRate();
        LoraFaConfig optimizer =
                rate == null ? LoraFaConfig.defaults() : LoraFaConfig.defaults().withLearningRate(rate);
        return reference.toBuilder()
                .training(training.withOptimizer(optimizer, training.groups()))
                .build();
    }

    /** A row for each named configuration, or one for the method, where none of them is its default. */
    private static <C extends MethodConfig> List<MethodRow> of(
            Method<C> method, RunConfig reference, TargetLayers layers) {
        Map<String, C> named = new LinkedHashMap<>(method.namedSettings());
        Map<String, C> all = new LinkedHashMap<>();
        if (!named.containsValue(method.defaults())) {
            all.put(method.name(), method.defaults());
        }
        Collection<String> methods = Methods.all().stream().map(Method::name).toList();
        named.forEach((name, config) -> all.put(methods.contains(name) ? method.name() + ":" + name : name, config));
        List<MethodRow> rows = new ArrayList<>();
        List<C> before = new ArrayList<>();
        all.forEach((name, config) -> {
            List<Try> runs = new ArrayList<>();
            runs.add(new Try(Map.of(), () -> reference.withMethod(at(layers, config))));
            for (Map<String, Object> changed : FittingSettings.of(name)) {
                runs.add(new Try(
                        changed,
                        () -> reference.withMethod(at(layers, FittingSettings.changed(reference, config, changed)))));
            }
            rows.add(new MethodRow(
                    name, method.name(), before.contains(config), config instanceof LinearMethodConfig, runs));
            before.add(config);
        });
        return rows;
    }

    private static MethodConfig at(TargetLayers layers, MethodConfig config) {
        return config instanceof LinearMethodConfig linear ? linear.withLayers(layers) : config;
    }

    /** A run file's method, adapter, optimiser, groups and task, on the reference's model, data and batches. */
    private static MethodRow added(RunConfig reference, String name, RunConfig run) {
        same(
                name,
                "model.path",
                reference.model().path().normalize(),
                run.model().path().normalize());
        same(name, "task.type", reference.task().type(), run.task().type());
        same(name, "task.max_length", reference.task().maxLength(), run.task().maxLength());
        @Nullable MethodConfig method = run.method();
        RunConfig own = reference.toBuilder()
                .task(run.task())
                .method(method)
                .adapter(run.adapter())
                .training(reference
                        .training()
                        .withOptimizer(
                                run.training().optimizer(), run.training().groups()))
                .build();
        return plain(name, method == null ? "" : Methods.of(method).name(), false, () -> own);
    }

    private static void same(String name, String setting, Object wanted, Object got) {
        if (!wanted.equals(got)) {
            throw new ConfigException(
                    "run file '" + name + "': " + setting + " must be that of the others, " + wanted + ", got " + got);
        }
    }
}
