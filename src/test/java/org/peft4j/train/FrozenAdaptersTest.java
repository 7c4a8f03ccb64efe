package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.AdapterHash;
import org.peft4j.io.Json;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.metrics.Evaluation;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.optim.AdamW;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunSummary;
import org.peft4j.run.TrainListener;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.task.Example;

/** Task adapters that runs train on top of frozen language adapters. */
class FrozenAdaptersTest {
    private static final List<String> LINES =
            List.of("email list", "list number mail you", "mail you spam", "spam url email", "url you number");

    @TempDir
    static Path shared;

    private static OpenedModel llama;
    private static Path lang;
    private static Path lang2;

    @TempDir
    Path directory;

    @BeforeAll
    static void languageAdapters() throws IOException {
        llama = OpenedModel.open(ModelConfig.of(Fixtures.TINY_LLAMA), 0);
        lang = train(language(shared.resolve("lang"), "training.seed=1"));
        lang2 = train(language(shared.resolve("lang2"), "training.seed=2"));
    }

    @AfterAll
    static void close() {
        llama.close();
    }

    private static RunConfig run(Path output, Map<String, ?> task, Map<String, ?> method, String... settings) {
        Map<String, Object> run = Map.of(
                "model",
                Fixtures.TINY_LLAMA,
                "data",
                Map.of("train", "not read"),
                "task",
                task,
                "training",
                Map.of("batch_size", 4, "max_steps", 5, "optimizer", Map.of("learning_rate", 2e-2)),
                "output",
                output,
                "method",
                method);
        return RunConfigFile.of(run, "a test", List.of(settings));
    }

    private static RunConfig language(Path output, String... settings) {
        return run(
                output,
                Map.of("type", "causal-lm", "max_length", 16),
                Map.of("type", "bottleneck", "config", "seq_bn_inv", "reduction_factor", 4),
                settings);
    }

    private RunConfig task(String name, Path under, String... settings) {
        List<String> all = new ArrayList<>(List.of("frozen_adapters=[" + under + "]"));
        all.addAll(List.of(settings));
        return plainTask(name, all.toArray(String[]::new));
    }

    private RunConfig plainTask(String name, String... settings) {
        return run(
                directory.resolve(name),
                Map.of("labels", List.of("0", "1"), "max_length", 16),
                Map.of("type", "bottleneck", "config", "double_seq_bn", "reduction_factor", 4),
                settings);
    }

    private static RunRows rows() {
        return new RunRows(columns -> RowReader.of(texts()), columns -> RowReader.of(texts()));
    }

    private static Stream<Map<String, Object>> texts() {
        return IntStream.range(0, 12)
                .mapToObj(i -> Map.of(
                        "text", LINES.get(i % LINES.size()) + " " + LINES.get(i * i % LINES.size()), "label", i % 2));
    }

    private static Path train(RunConfig config) throws IOException {
        return train(config, new TrainListener() {});
    }

    private static Path train(RunConfig config, TrainListener listener) throws IOException {
        TrainingRun.train(config, llama, rows(), false, listener, new Interrupts());
        return config.output();
    }

    private static LoadedRun<?> load(RunConfig config) throws IOException {
        return LoadedRun.load(config, llama, rows());
    }

    private static Map<String, byte[]> bytes(Path directory) throws IOException {
        Map<String, byte[]> bytes = new TreeMap<>();
        try (Stream<Path> files = Files.list(directory)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                bytes.put(file.getFileName().toString(), Files.readAllBytes(file));
            }
        }
        return bytes;
    }

    private static Map<String, List<Float>> tensors(Path adapter) throws IOException {
        Map<String, List<Float>> values = new LinkedHashMap<>();
        for (TensorData data : AdapterFiles.read(adapter).tensors().values()) {
            float[] floats = data.toFloats();
            values.put(
                    data.name(),
                    IntStream.range(0, floats.length).mapToObj(i -> floats[i]).toList());
        }
        return values;
    }

    @Test
    void theLanguageAdapterStaysAndTheTaskAdapterDependsOnIt() throws Exception {
        Map<String, byte[]> before = bytes(lang);
        Path task = train(task("task", lang));
        Path again = train(task("again", lang));
        Path other = train(task("other", lang2));
        Path none = train(plainTask("none"));

        assertThat(bytes(lang).keySet()).isEqualTo(before.keySet());
        bytes(lang).forEach((name, own) -> assertThat(own).as(name).isEqualTo(before.get(name)));
        assertThat(tensors(task))
                .isEqualTo(tensors(again))
                .isNotEqualTo(tensors(other))
                .isNotEqualTo(tensors(none));
        assertThat(tensors(task).keySet()).isEqualTo(tensors(none).keySet());
        assertThat(tensors(lang).keySet()).anyMatch(name -> name.startsWith("invertible_adapters."));

        AdapterSettings beside = AdapterSettings.read(task).orElseThrow();
        assertThat(beside.under())
                .containsExactly(new AdapterSettings.Under(lang.toString(), AdapterHash.of(AdapterFiles.read(lang))));
        assertThat(AdapterSettings.read(none).orElseThrow().under()).isEmpty();
        assertThat(AdapterHash.of(AdapterFiles.read(lang2)))
                .isNotEqualTo(beside.under().get(0).sha256());
    }

    /** What the run says of its validation rows is what the stack says, and not the adapter alone. */
    @Test
    void evaluationsAreThoseOfTheStack() throws Exception {
        List<Evaluation> evaluations = new ArrayList<>();
        List<String> notes = new ArrayList<>();
        Path task = train(task("task", lang), new TrainListener() {
            @Override
            public void started(RunSummary summary) {
                notes.addAll(summary.notes());
                assertThat(summary.parameters().model())
                        .isGreaterThan(summary.parameters().trained());
            }

            @Override
            public void evaluated(String rows, long step, Evaluation evaluation) {
                evaluations.add(evaluation);
            }
        });
        assertThat(notes).noneMatch(note -> note.contains("frozen adapter"));
        try (LoadedTask<?> top = LoadedTask.load(llama, task, null, Map.of());
                LoadedTask<?> under = LoadedTask.load(llama, lang, null, Map.of());
                LoadedTask<?> swapped = LoadedTask.load(llama, lang2, null, Map.of())) {
            assertThat(top.notes())
                    .anySatisfy(note -> assertThat(note)
                            .contains("the adapter was trained on top of the frozen adapter " + lang)
                            .contains("--compose 'Stack(under, task)'"));
            assertThat(under.notes()).noneMatch(note -> note.contains("on top of"));
            double stacked = loss(top, List.of(under.adapter(), top.adapter()));
            assertThat(evaluations.get(evaluations.size() - 1).loss()).isCloseTo(stacked, within(1e-6));
            assertThat(loss(top, List.of(top.adapter()))).isNotCloseTo(stacked, within(1e-4));
            assertThat(loss(top, List.of(swapped.adapter(), top.adapter()))).isNotCloseTo(stacked, within(1e-4));
        }
    }

    private static <E extends Example> double loss(LoadedTask<E> task, List<Adapter> stack) throws IOException {
        try (RowReader reader = RowReader.of(texts())) {
            var data = task.task().read(reader, task.tokenizer());
            return Inference.evaluate(
                            llama.model(),
                            task.task(),
                            task.model().head(),
                            stack,
                            data,
                            List.of(new int[] {0, 1, 2, 3, 4, 5}, new int[] {6, 7, 8, 9, 10, 11}))
                    .loss();
        }
    }

    @Test
    void onlyTheUppermostIsTrained() throws Exception {
        try (LoadedRun<?> run = load(task("task", lang, "frozen_adapters=[" + lang + ", " + lang2 + "]"));
                LoadedRun<?> plain = load(plainTask("plain"))) {
            assertThat(run.stack).hasSize(3).endsWith(run.adapter);
            assertThat(run.trained()).isEqualTo(plain.trained()).isEqualTo(run.adapter.elements());
            assertThat(run.modelParameters())
                    .isEqualTo(plain.modelParameters() + 2 * run.stack.get(0).elements());
            assertThat(run.stack.get(0).changesEmbedded()).isTrue();
            assertThat(run.stack.get(1).changesEmbedded()).isFalse();
            assertThat(run.notes)
                    .contains(
                            "frozen adapter " + lang2 + ": its invertible adapter does not act: of a stack that of the"
                                    + " first adapter does alone");
            Map<String, float[]> before = values(run.stack.subList(0, 2));
            step(run);
            values(run.stack.subList(0, 2))
                    .forEach((path, now) -> assertThat(now).as(path).isEqualTo(before.get(path)));
            for (Adapter frozen : run.stack.subList(0, 2)) {
                assertThat(frozen.parameters().values())
                        .allSatisfy(
                                one -> assertThat(one.value().grad().defined()).isFalse());
            }
            assertThat(run.adapter.parameters().values())
                    .allSatisfy(
                            one -> assertThat(one.value().grad().defined()).isFalse()); // taken away behind the step
        }
    }

    private static Map<String, float[]> values(List<Adapter> adapters) {
        Map<String, float[]> values = new LinkedHashMap<>();
        for (int i = 0; i < adapters.size(); i++) {
            for (Parameter parameter : adapters.get(i).parameters().values()) {
                values.put(i + " " + parameter.path(), Tensors.toFloats(parameter.value()));
            }
        }
        return values;
    }

    private static <E extends Example> TrainingStep.Outcome step(LoadedRun<E> run) {
        try (AdamW optimizer = new AdamW(run.groups)) {
            return new TrainingStep<>(run, optimizer).run(List.of(new int[] {0, 1, 2, 3}), 1, 1);
        }
    }

    /** A frozen adapter acts as in use. */
    @Test
    void whatIsFrozenIsNotDroppedOut() throws Exception {
        Path dropping = changed("dropping", config -> config.put("dropout", 0.5));
        try (LoadedRun<?> run = load(task("task", dropping));
                LoadedRun<?> without = load(task("task", lang))) {
            assertThat(step(run)).isEqualTo(step(without));
        }
    }

    private interface Change {
        void of(Map<String, @Nullable Object> config);
    }

    /** A copy of the language adapter with another config. */
    private Path changed(String name, Change change) throws IOException {
        Path copy = Files.createDirectory(directory.resolve(name));
        for (String file : List.of(AdapterFiles.TENSORS, AdapterSettings.FILE)) {
            Files.copy(lang.resolve(file), copy.resolve(file));
        }
        Map<String, @Nullable Object> config = new LinkedHashMap<>(Json.readObject(lang.resolve(AdapterFiles.CONFIG)));
        change.of(config);
        Files.writeString(copy.resolve(AdapterFiles.CONFIG), Json.write(config));
        return copy;
    }

    @Test
    void blocksThatAreComputedAgainGiveTheSameBits() throws Exception {
        Path kept = train(task("kept", lang, "training.gradient_accumulation=2"));
        Path again = train(task("again", lang, "training.gradient_accumulation=2", "training.checkpointing=block"));
        assertThat(tensors(again)).isEqualTo(tensors(kept));
    }

    /** The language model's own method on top of another adapter of a language model: head and inverse act. */
    @Test
    void aLanguageAdapterTrainsUponAnother() throws Exception {
        RunConfig upper = language(
                directory.resolve("upper"), "method={type: lora, targets: [q_proj]}", "frozen_adapters=[" + lang + "]");
        try (LoadedRun<?> run = load(upper)) {
            assertThat(run.stack.get(0).changesEmbedded()).isTrue();
        }
        assertThat(tensors(train(upper)).keySet()).allMatch(name -> name.contains("lora_"));
    }

    /** A method that looks at rows first on top; and below what no Stack takes. */
    @Test
    void otherMethodsStandOnEachOther() throws Exception {
        Path below = train(run(
                directory.resolve("below"),
                Map.of("type", "causal-lm", "max_length", 16),
                Map.of("type", "prompt-tuning", "virtual_tokens", 3)));
        refuses(task("task", below), "frozen_adapters: '" + below + "' acts on model.embed_tokens");
        Path eva = train(task("eva", lang, "method={type: lora, r: 2, targets: [q_proj], init: eva}"));
        Path plain = train(plainTask("plain", "method={type: lora, r: 2, targets: [q_proj], init: eva}"));
        assertThat(tensors(eva)).as("it has seen the rows of the stack").isNotEqualTo(tensors(plain));
    }

    /** Methods that look at rows first see what the frozen adapters make of them. */
    @ParameterizedTest
    @ValueSource(strings = {"eva", "corda", "lora_ga"})
    void startsFromDataSeeTheStack(String init) throws Exception {
        Path lora = train(plainTask("lora", "method={type: lora, targets: [v_proj], r: 2}"));
        String method = "method={type: lora, r: 2, targets: [q_proj], init: " + init + "}";
        try (LoadedRun<?> run = load(task("task", lora, method));
                LoadedRun<?> plain = load(plainTask("plain", method))) {
            assertThat(values(List.of(run.adapter)).get("0 model.layers.1.self_attn.q_proj.lora_A.weight"))
                    .isNotEqualTo(
                            values(List.of(plain.adapter)).get("0 model.layers.1.self_attn.q_proj.lora_A.weight"));
            step(run);
        }
    }

    /** As in a Stack of a composition, where the last one's head alone counts. */
    @Test
    void theHeadOfALanguageModelDoesNotActUnderAnother() throws Exception {
        Path under = train(language(
                directory.resolve("under"), "method={type: lora, targets: [q_proj], modules_to_save: [lm_head]}"));
        String upper = "method={type: lora, targets: [v_proj], modules_to_save: [lm_head]}";
        try (LoadedRun<?> run = load(language(directory.resolve("upper"), upper, "frozen_adapters=[" + under + "]"))) {
            assertThat(run.stack.get(0).replacements()).isEmpty();
            assertThat(run.notes)
                    .contains(
                            "frozen adapter " + under + ": what it has for its head does not act here: lm_head.weight");
            step(run);
        }
    }

    /** What acts at one linear layer twice is another thing in a Stack. */
    @Test
    void layersThatAFrozenAdapterChangesAreRefused() throws Exception {
        Path lora = train(plainTask("lora", "method={type: lora, targets: [q_proj], r: 2}"));
        refuses(
                task("task", lora, "method={type: lora, targets: [q_proj, v_proj], r: 2}"),
                "frozen_adapters: '" + lora + "' and 'the one that is trained' both act on"
                        + " model.layers.0.self_attn.q_proj");
    }

    @Test
    void aHeadOfAnotherTaskDoesNotAct() throws Exception {
        Path other = train(plainTask("other", "method={type: lora, targets: [q_proj], r: 2}"));
        try (LoadedRun<?> run = load(task("task", other))) {
            assertThat(run.notes)
                    .contains("frozen adapter " + other + ": what it has for its head does not act here: score.weight");
            assertThat(run.stack.get(0).replacements()).isEmpty();
            assertThat(run.stack.get(0).lowRanks()).isNotEmpty();
            step(run);
        }
    }

    @Test
    void aRunThatGoesOnSaysWhetherItStandsOnTheSame() throws Exception {
        Path task = train(task("task", lang));
        try (LoadedRun<?> same = load(task("on", lang, "method=null", "adapter=" + task));
                LoadedRun<?> alone = load(plainTask("on", "method=null", "adapter=" + task));
                LoadedRun<?> others = load(task("on", lang2, "method=null", "adapter=" + task))) {
            assertThat(same.notes).noneMatch(note -> note.contains("on top of"));
            assertThat(alone.notes)
                    .contains("the adapter that the run goes on from was trained on top of the frozen adapter " + lang
                            + ", and this run has no frozen_adapters");
            assertThat(others.notes)
                    .anyMatch(note -> note.endsWith("and those of this run are others, or were changed"));
        }
    }

    private void refuses(RunConfig config, String message) {
        assertThatThrownBy(() -> load(config).close())
                .isInstanceOfAny(ConfigException.class, MalformedFileException.class)
                .hasMessageContaining(message);
    }

    @Test
    void whatCannotStandOnEachOtherIsRefused() throws Exception {
        refuses(
                task("task", lang, "method.config=seq_bn_inv"),
                "frozen_adapters: of a stack the invertible adapter of the first one acts alone");
        refuses(task("task", directory.resolve("nowhere")), "nowhere");
        Path lora = train(plainTask("lora", "method={type: lora, targets: [q_proj], r: 2}"));
        refuses(
                task("task", lora, "method={type: full}"),
                "frozen_adapters: adapters 'the one that is trained' and '" + lora + "' cannot both apply: the first"
                        + " replaces model.layers.0.self_attn.q_proj.weight");
        Path tasks = train(run(
                directory.resolve("tasks"),
                Map.of("type", "causal-lm", "max_length", 16),
                Map.of("type", "poly", "r", 2, "targets", List.of("q_proj")),
                "task.task_id=0"));
        refuses(
                task("task", tasks),
                "frozen_adapters: " + tasks + ": an adapter whose rows are of tasks is not offered under another one");
        refuses(
                task("task", changed("wide", config -> config.put("reduction_factor", 1000))),
                "reduction_factor: must be at most the width");
    }

    @Test
    void settingsAreReadAndWrongOnesRefused() {
        RunConfig config = task("task", lang);
        assertThat(config.frozenAdapters()).containsExactly(lang);
        assertThat(RunConfigFile.of(RunConfigFile.toMap(config), "again", List.of()))
                .isEqualTo(config);
        assertThat(config.toBuilder().build()).isEqualTo(config);
        assertThat(plainTask("task").frozenAdapters()).isEmpty();
        for (Map.Entry<String, String> wrong : Map.of(
                        "frozen_adapters=[a, b, ./a]",
                        "frozen_adapters must name each adapter once, got ./a twice",
                        "frozen_adapters=" + lang,
                        "a list such as [a, b]",
                        "frozen_adapters=[" + directory.resolve("task") + "]",
                        "must not name the output")
                .entrySet()) {
            assertThatThrownBy(() -> plainTask("task", wrong.getKey()))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining(wrong.getValue());
        }
        assertThatThrownBy(() -> task("task", lang, "adapter=" + lang))
                .hasMessageContaining(
                        "frozen_adapters must not name the adapter " + lang + " that the run goes on from");
    }
}
