package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Trainer;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.DeviceException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.StepHook;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.ParameterGroup;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunResult;
import org.peft4j.run.RunSummary;
import org.peft4j.run.TrainListener;
import org.peft4j.task.Example;

/** Rounds of half fine-tuning: what is drawn, what stays, and a small reference that trains each half by itself. */
class HftRunTest {
    private static final int ROWS = 12;
    private static final int STEPS = 8;
    private static final int ROUND = 3;

    private static OpenedModel llama;

    @TempDir
    Path dir;

    @BeforeAll
    static void open() throws IOException {
        llama = OpenedModel.open(ModelConfig.of(Fixtures.TINY_LLAMA), 0);
    }

    @AfterAll
    static void close() {
        llama.close();
    }

    private static LoadedRun<?> load(MethodConfig method) throws IOException {
        RunConfig config = RunConfig.builder()
                .model(llama.config())
                .task(CausalLmConfig.defaults().withMaxLength(16))
                .method(method)
                .training(TrainingConfig.builder()
                        .batchSize(ROWS)
                        .epochs(STEPS)
                        .learningRate(1e-2)
                        .maxGradNorm(0.5)
                        .build())
                .output(Path.of("not-written"))
                .build();
        return LoadedRun.load(
                config,
                llama,
                new RunRows(
                        columns -> RowReader.of(IntStream.range(0, ROWS)
                                .mapToObj(i -> Map.of("text", "mail " + "list ".repeat(i % 4) + i + " spam url"))),
                        null));
    }

    private static HftConfig hft() {
        return HftConfig.defaults().withRoundSteps(ROUND);
    }

    private static Set<String> trained(Adapter adapter) {
        return adapter.parameters().values().stream()
                .filter(parameter -> parameter.value().requires_grad())
                .map(Parameter::path)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    private static StepHook hook(Adapter adapter) {
        return adapter.hooks().get(0);
    }

    /** What rounds train, one after the other. */
    private static List<Set<String>> rounds(HftConfig config, int count) throws IOException {
        List<Set<String>> rounds = new ArrayList<>();
        try (LoadedRun<?> run = load(config.withRoundSteps(1))) {
            for (int round = 0; round < count; round++) {
                rounds.add(trained(run.adapter));
                hook(run.adapter).afterOptimizer(new StepHook.Step(round + 1, STEPS));
            }
        }
        return rounds;
    }

    private static long count(Set<String> of, Predicate<String> which) {
        return of.stream().filter(which).count();
    }

    @Test
    void ofEachKindHalfIsDrawn() throws IOException {
        List<Set<String>> rounds = rounds(hft(), 12);
        for (Set<String> round : rounds) {
            long[] mlp = new long[2];
            for (int layer = 0; layer < 2; layer++) {
                String block = "model.layers." + layer + ".";
                assertThat(count(round, path -> path.startsWith(block + "self_attn")))
                        .isEqualTo(2);
                mlp[layer] = count(round, path -> path.startsWith(block + "mlp"));
            }
            assertThat(mlp).containsExactlyInAnyOrder(1, 2);
            assertThat(count(round, path -> path.contains("norm"))).isEqualTo(3); // of 5
            assertThat(round).contains("model.embed_tokens.weight", "lm_head.weight");
        }
        assertThat(Set.copyOf(rounds)).as("halves are drawn anew").hasSizeGreaterThan(10);
        assertThat(rounds.stream().flatMap(Set::stream).collect(Collectors.toSet()))
                .as("everything has its turn")
                .hasSize(21);
        assertThat(rounds(hft(), 12)).as("by the seed").isEqualTo(rounds);
        assertThat(rounds(hft().withSeed(1), 12)).isNotEqualTo(rounds);
        assertThat(rounds(hft().withRound(4), 8)).as("from a later round on").isEqualTo(rounds.subList(4, 12));
    }

    private static Map<String, float[]> values(Adapter adapter) {
        Map<String, float[]> values = new LinkedHashMap<>();
        adapter.parameters().forEach((path, parameter) -> values.put(path, Tensors.toFloats(parameter.value())));
        return values;
    }

    private static List<int[]> micro() {
        return List.of(IntStream.range(0, 5).toArray(), IntStream.range(5, ROWS).toArray());
    }

    /**
     * The reference is full tuning by an optimiser that has the half alone, a new one for each round. What it does not have stays what
     * it was at the end of the round before.
     */
    @Test
    void eachRoundIsFullTuningOfItsHalf() throws IOException {
        List<Set<String>> halves = rounds(hft(), 3);
        List<Map<String, float[]>> expected = new ArrayList<>();
        try (LoadedRun<?> run = load(FullConfig.defaults())) {
            reference(run, halves, expected);
        }
        try (LoadedRun<?> run = load(hft())) {
            check(run, halves, expected);
        }
    }

    private static <E extends Example> void reference(
            LoadedRun<E> run, List<Set<String>> halves, List<Map<String, float[]>> after) {
        for (int round = 0; round < 3; round++) {
            Set<String> half = halves.get(round);
            List<ParameterGroup> groups = run.groups.stream()
                    .map(group -> new ParameterGroup(
                            group.name(),
                            group.learningRate(),
                            group.weightDecay(),
                            group.parameters().stream()
                                    .filter(parameter -> half.contains(parameter.path()))
                                    .toList()))
                    .toList();
            try (AdamW optimizer = new AdamW(groups)) {
                TrainingStep<E> step = new TrainingStep<>(run, optimizer);
                for (int number = round * ROUND + 1; number <= Math.min(STEPS, (round + 1) * ROUND); number++) {
                    step.run(micro(), number, 1);
                    after.add(values(run.adapter));
                }
            }
        }
    }

    private static <E extends Example> void check(
            LoadedRun<E> run, List<Set<String>> halves, List<Map<String, float[]>> expected) {
        try (AdamW optimizer = new AdamW(run.groups)) {
            TrainingStep<E> step = new TrainingStep<>(run, optimizer);
            Map<String, float[]> begin = values(run.adapter);
            for (int number = 1; number <= STEPS; number++) {
                Set<String> half = halves.get((number - 1) / ROUND);
                assertThat(trained(run.adapter)).as("step %s", number).isEqualTo(half);
                step.run(micro(), number, 1);
                Map<String, float[]> now = values(run.adapter);
                for (Map.Entry<String, float[]> one : now.entrySet()) {
                    assertThat(one.getValue())
                            .as("step %s, %s", number, one.getKey())
                            .isEqualTo(expected.get(number - 1).get(one.getKey()));
                    if (!half.contains(one.getKey())) {
                        assertThat(one.getValue()).as(one.getKey()).isEqualTo(begin.get(one.getKey()));
                    }
                }
                if (number % ROUND == 0) {
                    begin = now;
                    for (String path : halves.get(0)) {
                        assertThat(optimizer.steps(path))
                                .as("the optimiser begins anew")
                                .isZero();
                    }
                } else {
                    assertThat(optimizer.steps("lm_head.weight")).isEqualTo(number % ROUND);
                }
            }
        }
    }

    /** Parameters and the hook's state from the middle: the same bits as without a break. */
    @ParameterizedTest
    @ValueSource(ints = {1, 3, 5, 7})
    void fromASavedStateItGoesOnToTheSameBits(int at) throws IOException {
        try (LoadedRun<?> one = load(hft());
                LoadedRun<?> two = load(hft())) {
            Map<String, Tensor> state = new LinkedHashMap<>();
            for (int number = 1; number <= STEPS; number++) {
                step(one.model, one.adapter, number);
                if (number == at) {
                    values(one.adapter)
                            .forEach((path, own) ->
                                    two.adapter.parameters().get(path).set(own));
                    hook(one.adapter)
                            .state()
                            .forEach((name, tensor) -> state.put(name, Scopes.owned(() -> tensor.clone())));
                }
            }
            assertThat(state).isNotEmpty();
            hook(two.adapter).begin(STEPS);
            hook(two.adapter).restore(state);
            for (int number = at + 1; number <= STEPS; number++) {
                step(two.model, two.adapter, number);
            }
            assertThat(trained(two.adapter)).isEqualTo(trained(one.adapter));
            Map<String, float[]> expected = values(one.adapter);
            values(two.adapter).forEach((path, own) -> assertThat(own).as(path).isEqualTo(expected.get(path)));
            state.values().forEach(Tensor::close);
        }
    }

    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));

    /** By an optimiser without moments. */
    private static void step(HeadedModel model, Adapter adapter, int number) {
        LanguageTraining.backward(model, adapter, TEXTS, BlockRunner.plain(), number);
        try (PointerScope scope = new PointerScope()) {
            for (Parameter parameter : adapter.parameters().values()) {
                Tensor gradient = parameter.value().grad();
                if (gradient.defined()) {
                    parameter.value().detach().sub_(gradient.mul(new Scalar(0.1)));
                }
            }
            hook(adapter).afterOptimizer(new StepHook.Step(number, STEPS));
            adapter.parameters()
                    .values()
                    .forEach(parameter -> parameter.value().mutable_grad().reset());
        }
    }

    @Test
    void aStateThatIsNotItsOwnIsRefused() throws IOException {
        try (LoadedRun<?> run = load(hft());
                PointerScope scope = new PointerScope()) {
            StepHook hook = hook(run.adapter);
            Set<String> before = trained(run.adapter);
            for (Map<String, Tensor> wrong : List.<Map<String, Tensor>>of(
                    Map.of(),
                    Map.of("other", torch.zeros(2)),
                    Map.of("hft.progress", torch.zeros(3)),
                    Map.of("hft.progress", Tensors.ofFloats(new float[] {0, ROUND}, 2)),
                    Map.of("hft.progress", Tensors.ofFloats(new float[] {-1, 0}, 2)))) {
                assertThatThrownBy(() -> hook.restore(wrong))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageContaining("hft.progress");
            }
            assertThat(trained(run.adapter)).isEqualTo(before);
        }
    }

    @Test
    void memoryIsThatOfAHalf() throws IOException {
        try (LoadedRun<?> run = load(hft())) {
            long all = run.adapter.elements();
            long atOnce = hook(run.adapter).trainedAtOnce(all);
            long always = 2 * 200 * 32;
            assertThat(atOnce).isBetween(always + (all - always) / 3, always + (all - always) * 2 / 3);
        }
        assertThatThrownBy(() -> MemoryCheck.checkFiles(1_000_000_000L, 100_000_000L, 4_000_000_000L))
                .isInstanceOf(DeviceException.class)
                .hasMessageContaining("saving the adapter of 4.0 GB takes 4.4 GB of Java's memory, which may be 4.0 GB")
                .hasMessageContaining("-Xmx, at least 4.9 GB");
        MemoryCheck.checkFiles(1_000_000_000L, 100_000_000L, 4_900_000_000L);
    }

    private RunConfig file(String name, String method, int steps) throws IOException {
        Path train = Files.writeString(
                dir.resolve("train.jsonl"),
                IntStream.range(0, ROWS)
                        .mapToObj(i -> "{\"text\": \"" + (i % 2 == 0 ? "spam url " : "list number ") + i
                                + "\", \"label\": \"" + (i % 2 == 0 ? "spam" : "ham") + "\"}\n")
                        .collect(Collectors.joining()));
        Path yaml = Files.writeString(dir.resolve(name + ".yaml"), """
                model: {path: %s, dropout: 0}
                task: {type: sequence-classification, max_length: 40}
                data: {train: %s}
                %s
                training: {max_steps: %d, epochs: 9, batch_size: 4, optimizer: {learning_rate: 1e-3}}
                output: %s
                """.formatted(
                        Fixtures.TINY_BERT.toAbsolutePath(), train, method, steps, dir.resolve(name)));
        return RunConfigFile.read(yaml, List.of());
    }

    private static List<String> notes(RunConfig config) throws IOException {
        List<String> notes = new ArrayList<>();
        RunResult result = Trainer.of(config)
                .listener(new TrainListener() {
                    @Override
                    public void started(RunSummary summary) {
                        notes.addAll(summary.notes());
                        assertThat(summary.parameters().trained()).isPositive();
                    }
                })
                .train();
        assertThat(result.status()).isEqualTo(RunResult.Status.FINISHED);
        return notes;
    }

    /** From a run file: to the end, and from there on with the next round. */
    @Test
    void aRunGoesOnWithTheNextRound() throws IOException {
        RunConfig first = file("first", "method: {type: hft, round_steps: 3, seed: 5}", 4);
        assertThat(notes(first)).noneMatch(note -> note.contains("round_steps"));
        assertThat(AdapterFiles.read(first.output()).config())
                .containsEntry("round", 2)
                .containsEntry("round_steps", 3)
                .containsEntry("seed", 5);
        RunConfig second =
                file("second", "method: {type: hft, round_steps: 20, seed: 5}\nadapter: " + first.output(), 2);
        assertThat(notes(second)).contains("method.round_steps is 20, the run has 2 steps: one half alone is trained");
        assertThat(AdapterFiles.read(second.output()).config())
                .containsEntry("round", 3)
                .containsEntry("round_steps", 20);
        Map<String, float[]> before = new LinkedHashMap<>();
        AdapterFiles.read(first.output()).tensors().forEach((name, data) -> before.put(name, data.toFloats()));
        long still = AdapterFiles.read(second.output()).tensors().entrySet().stream()
                .filter(entry -> java.util.Arrays.equals(
                        before.get(entry.getKey()), entry.getValue().toFloats()))
                .count();
        assertThat(still).as("about half of the modules stay").isBetween(15L, 32L);
    }

    /** In a run, too, one that does not fit the model is one clear error, and nothing is written. */
    @Test
    void whatDoesNotFitIsRefusedBeforeAnythingIsWritten() throws IOException {
        RunConfig config = file("not", "method: {type: full, layers: [7]}", 1);
        assertThatThrownBy(() -> Trainer.of(config).train())
                .isInstanceOf(org.peft4j.error.ConfigException.class)
                .hasMessageContaining("layers must be from 0 to 2");
        assertThat(config.output()).doesNotExist();
    }
}
