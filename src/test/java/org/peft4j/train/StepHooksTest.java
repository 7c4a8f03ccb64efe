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
import java.util.Optional;
import java.util.stream.IntStream;
import org.assertj.core.data.Offset;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;
import org.peft4j.TextClassifier;
import org.peft4j.Trainer;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.adalora.AdaLoraConfig;
import org.peft4j.method.adalora.RankBudget;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.StepHook;
import org.peft4j.optim.AdamW;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunResult;
import org.peft4j.run.RunSummary;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;
import org.peft4j.task.Example;

/** What adapters ask of each step, and runs of AdaLoRA, which asks for all of it. */
class StepHooksTest {
    private static final int ROWS = 12;

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

    private static LoadedRun<?> load(MethodConfig method, TrainingConfig training) throws IOException {
        RunConfig config = RunConfig.builder()
                .model(llama.config())
                .task(CausalLmConfig.defaults().withMaxLength(16))
                .method(method)
                .training(training)
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

    private static TrainingConfig.Builder training() {
        return TrainingConfig.builder().batchSize(4).learningRate(1e-2).maxGradNorm(0.01);
    }

    /** Numbers of rows, as many in each micro-batch. */
    private static List<int[]> micro(int batches) {
        int each = ROWS / batches;
        return IntStream.range(0, batches)
                .mapToObj(b -> IntStream.range(b * each, (b + 1) * each).toArray())
                .toList();
    }

    /** Writes down when it is called, and what gradients and values are then. */
    private static final class Probe implements StepHook {
        private final Parameter of;
        private final List<String> calls = new ArrayList<>();
        private final List<Double> norms = new ArrayList<>();
        private float[] before = new float[0];
        private float[] after = new float[0];

        private Probe(Parameter of) {
            this.of = of;
        }

        @Override
        public Optional<Tensor> penalty() {
            calls.add("penalty");
            return Optional.of(of.value().sum().mul(new Scalar(2.0)));
        }

        @Override
        public void beforeClipping() {
            calls.add("whole " + Math.round(of.value().grad().norm().item_double()));
        }

        @Override
        public void beforeOptimizer(Step step) {
            calls.add("before " + step.number() + " of " + step.totalSteps());
            norms.add(of.value().grad().norm().item_double());
            before = Tensors.toFloats(of.value());
        }

        @Override
        public void afterOptimizer(Step step) {
            calls.add("after " + step.number());
            norms.add(of.value().grad().norm().item_double());
            after = Tensors.toFloats(of.value());
        }
    }

    @Test
    void theyAreCalledInOrderOnceAStep() throws IOException {
        try (LoadedRun<?> run = load(LoraConfig.defaults(), training().build())) {
            inOrder(run);
        }
    }

    private static <E extends Example> void inOrder(LoadedRun<E> run) {
        Parameter a = run.adapter.parameters().values().stream()
                .filter(parameter -> parameter.group().equals("lora_A"))
                .findFirst()
                .orElseThrow();
        double sum = 0;
        for (float value : Tensors.toFloats(a.value())) {
            sum += value;
        }
        Probe probe = new Probe(a);
        double plain;
        try (AdamW still = new AdamW(List.of())) {
            plain = new TrainingStep<>(run, still, 0, List.of())
                    .run(micro(3), 1, 1)
                    .loss();
        }
        try (AdamW optimizer = new AdamW(run.groups)) {
            TrainingStep<E> step = new TrainingStep<>(run, optimizer, 0, List.of(probe));
            TrainingStep.Outcome outcome = step.run(micro(3), 1, 1);
            assertThat(probe.calls)
                    .containsExactly(
                            "penalty", "whole " + Math.round(2 * Math.sqrt(a.elements())), "before 1 of 3", "after 1");
            assertThat(outcome.loss()).as("with the penalty, once").isCloseTo(plain + 2 * sum, Offset.offset(1e-4));
            // B is zero, so that A has the gradient of the penalty alone: 2 for each element; nearly all of the norm.
            double unclipped = 2 * Math.sqrt(a.elements());
            assertThat(outcome.gradNorm()).isGreaterThanOrEqualTo(unclipped - 1e-3);
            assertThat(probe.norms)
                    .allSatisfy(norm ->
                            assertThat(norm).isCloseTo(unclipped * 0.01 / outcome.gradNorm(), Offset.offset(1e-5)));
            assertThat(probe.after).isNotEqualTo(probe.before);
            assertThat(a.value().grad().defined()).as("gradients are gone").isFalse();
            step.run(micro(1), 2, 1);
            assertThat(probe.calls).endsWith("before 2 of 3", "after 2");
        }
    }

    private static AdaLoraConfig ranks(int target, int init, int tinit, int tfinal) {
        return AdaLoraConfig.builder()
                .budget(new RankBudget(target, init, tinit, tfinal, 1, null))
                .alpha(30)
                .build();
    }

    private record Trained(List<Double> losses, Map<String, float[]> parameters) {}

    private static Trained train(int batches) throws IOException {
        try (LoadedRun<?> run =
                load(ranks(2, 5, 1, 2), training().epochs(8).batchSize(ROWS).build())) {
            assertThat(run.batches.totalSteps()).isEqualTo(8);
            return train(run, batches);
        }
    }

    private static <E extends Example> Trained train(LoadedRun<E> run, int batches) {
        List<Double> losses = new ArrayList<>();
        try (AdamW optimizer = new AdamW(run.groups)) {
            TrainingStep<E> step = new TrainingStep<>(run, optimizer);
            for (int number = 1; number <= 8; number++) {
                losses.add(step.run(micro(batches), number, 1).loss());
            }
        }
        Map<String, float[]> parameters = new LinkedHashMap<>();
        run.adapter
                .parameters()
                .forEach((path, parameter) -> parameters.put(path, Tensors.toFloats(parameter.value())));
        return new Trained(losses, parameters);
    }

    /** The penalty is added once a step, and ranks are taken once, however many micro-batches there are. */
    @Test
    void accumulatedBatchesAreOne() throws IOException {
        Trained one = train(1);
        for (int batches : new int[] {2, 3}) {
            Trained several = train(batches);
            for (int i = 0; i < one.losses().size(); i++) {
                assertThat(several.losses().get(i)).isCloseTo(one.losses().get(i), Offset.offset(1e-5));
            }
            one.parameters().forEach((path, values) -> {
                assertThat(Fixtures.maxDifference(several.parameters().get(path), values))
                        .as(path)
                        .isLessThan(1e-3);
                if (path.endsWith("lora_E")) {
                    assertThat(left(several.parameters().get(path))).as(path).isEqualTo(left(values));
                }
            });
        }
        assertThat(one.parameters().entrySet().stream()
                        .filter(entry -> entry.getKey().endsWith("lora_E"))
                        .mapToInt(entry -> left(entry.getValue()).size())
                        .sum())
                .isEqualTo(4 * 2);
    }

    private static List<Integer> left(float[] e) {
        return IntStream.range(0, e.length).filter(k -> e[k] != 0).boxed().toList();
    }

    @Test
    void aRunThatIsTooShortForItsBudgetIsRefused() {
        assertThatThrownBy(() -> load(ranks(2, 5, 2, 1), training().build()).close())
                .isInstanceOf(ConfigException.class)
                .hasMessage(
                        "method.tinit 2 and tfinal 1 leave no step between them in which ranks could be taken: together"
                                + " they must be less than the run's 3 steps; lower them, or train for more steps");
    }

    private RunConfig file(String name, String method, String more) throws IOException {
        StringBuilder rows = new StringBuilder();
        for (int i = 0; i < ROWS; i++) {
            rows.append("{\"text\": \"")
                    .append(i % 2 == 0 ? "spam url" : "list number")
                    .append(' ')
                    .append(i)
                    .append("\", \"label\": \"")
                    .append(i % 2 == 0 ? "spam" : "ham")
                    .append("\"}\n");
        }
        Path train = Files.writeString(dir.resolve("train.jsonl"), rows);
        Path yaml = Files.writeString(dir.resolve(name + ".yaml"), """
                model: {path: %s, dropout: 0}
                task: {type: sequence-classification, max_length: 40}
                data: {train: %s}
                %s
                training: {epochs: 4, batch_size: 4, optimizer: {learning_rate: 2e-2}, gradient_accumulation: 1%s}
                output: %s
                """.formatted(
                        Fixtures.TINY_BERT.toAbsolutePath(), train, method, more, dir.resolve(name)));
        return RunConfigFile.read(yaml, List.of());
    }

    private static final String METHOD =
            "method: {type: adalora, init_r: 4, target_r: 2, alpha: 16, tinit: 2, tfinal: 3, delta_t: 2, orth_reg_weight: 0.1}";

    private static int ranks(AdapterFile file) {
        Map<?, ?> pattern =
                (Map<?, ?>) java.util.Objects.requireNonNull(file.config().get("rank_pattern"));
        return pattern.values().stream()
                .flatMap(left -> ((List<?>) left).stream())
                .mapToInt(left -> Boolean.TRUE.equals(left) ? 1 : 0)
                .sum();
    }

    /** From a run file: to the end, and from there on. */
    @Test
    void aRunFindsItsRanksAndGoesOnWithThem() throws IOException {
        RunConfig config = file("whole", METHOD, "");
        assertThat(Trainer.of(config).train().status()).isEqualTo(RunResult.Status.FINISHED);
        AdapterFile found = AdapterFiles.read(config.output());
        assertThat(found.config()).containsEntry("total_step", 12);
        assertThat(ranks(found)).isEqualTo(6 * 2);
        assertThat(found.tensors().values().stream()
                        .filter(tensor -> tensor.name().endsWith("lora_E"))
                        .mapToLong(tensor -> tensor.shape().get(0))
                        .sum())
                .isEqualTo(6 * 2);
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, config.output())) {
            assertThat(classifier.predict("spam url 4").label()).isEqualTo("spam");
            assertThat(classifier.predict("list number 5").label()).isEqualTo("ham");
        }
        List<String> notes = new ArrayList<>();
        RunConfig on = file("on", "adapter: " + config.output(), ", max_steps: 2");
        Trainer.of(on)
                .listener(new TrainListener() {
                    @Override
                    public void started(RunSummary summary) {
                        notes.addAll(summary.notes());
                    }
                })
                .train();
        assertThat(notes)
                .contains(
                        "the adapter's ranks are those that an earlier run found, 12 in 6 layers: they stay as they are");
        AdapterFile after = AdapterFiles.read(on.output());
        assertThat(after.config().get("rank_pattern")).isEqualTo(found.config().get("rank_pattern"));
    }

    /** Ranks are found on a backbone alone, whose files lack its name in paths, and read behind a head. */
    @Test
    void ranksOfABackboneAloneAreThoseBehindAHead() throws IOException {
        Path train = Files.writeString(
                dir.resolve("pairs.jsonl"),
                IntStream.range(0, ROWS)
                        .mapToObj(i -> "{\"text\": \"spam " + i + "\", \"positive\": \"url " + i + "\"}\n")
                        .collect(java.util.stream.Collectors.joining()));
        Path yaml = Files.writeString(dir.resolve("alone.yaml"), """
                model: {path: %s, dropout: 0}
                task: {type: embedding, max_length: 20}
                data: {train: %s}
                %s
                training: {epochs: 4, batch_size: 4, optimizer: {learning_rate: 2e-2}}
                output: %s
                """.formatted(
                        Fixtures.TINY_BERT.toAbsolutePath(), train, METHOD, dir.resolve("alone")));
        RunConfig config = RunConfigFile.read(yaml, List.of());
        Trainer.of(config).train();
        AdapterFile file = AdapterFiles.read(config.output());
        Map<?, ?> pattern =
                (Map<?, ?>) java.util.Objects.requireNonNull(file.config().get("rank_pattern"));
        assertThat(pattern.keySet())
                .allSatisfy(name -> assertThat(String.valueOf(name)).startsWith("encoder.layer."));
        for (HeadKind kind : List.of(HeadKind.NONE, HeadKind.SEQUENCE)) {
            try (HeadedModel model = HeadedModel.open(
                    Fixtures.tinyBert(),
                    ModelOptions.defaults(),
                    kind,
                    HeadOptions.of(kind == HeadKind.NONE ? 0 : 2))) {
                AdapterStore.Loaded loaded = AdapterStore.read(config.output(), "it", model.points());
                try (Adapter adapter = loaded.adapter()) {
                    assertThat(loaded.notes()).isEmpty();
                    assertThat(adapter.parameters().values().stream()
                                    .filter(parameter -> parameter.group().equals("lora_E"))
                                    .mapToLong(Parameter::elements)
                                    .sum())
                            .isEqualTo(6 * 2);
                }
            }
        }
    }

    /** A run that ends in the middle of its budget leaves an adapter that is whole. */
    @Test
    void anInterruptedRunLeavesTheRanksOfItsLastStep() throws IOException {
        RunConfig config = file("ended", METHOD, ", save_every: 2");
        java.util.concurrent.atomic.AtomicInteger told = new java.util.concurrent.atomic.AtomicInteger();
        List<String> messages = new ArrayList<>();
        Trainer trainer = Trainer.of(config).listener(new TrainListener() {
            @Override
            public void step(StepMetrics step, long total) {
                if (told.incrementAndGet() == 7) {
                    throw new IllegalStateException("enough");
                }
            }

            @Override
            public void finished(RunResult result) {
                messages.add(String.valueOf(result.message()));
            }
        });
        assertThatThrownBy(trainer::train).hasMessage("enough");
        AdapterFile file = AdapterFiles.read(config.output());
        assertThat(ranks(file)).isBetween(6 * 2 + 1, 6 * 4);
        assertThat(file.config()).containsEntry("total_step", 12);
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, config.output())) {
            assertThat(classifier.predict("spam url 4").label()).isIn("spam", "ham");
        }
        assertThat(messages).containsExactly("enough");
    }

    /** An adapter that has its ranks yet is given another budget by the run that goes on from it. */
    @Test
    void whereNoRankWasTakenTheBudgetMayBeChosenAnew() throws IOException {
        RunConfig first = file("first", METHOD, ", max_steps: 6");
        RunConfig early = first.withMethod(((AdaLoraConfig) java.util.Objects.requireNonNull(first.method()))
                .withBudget(new RankBudget(2, 4, 8, 3, 2, 40)));
        List<String> notes = new ArrayList<>();
        Trainer.of(early)
                .listener(new TrainListener() {
                    @Override
                    public void started(RunSummary summary) {
                        notes.addAll(summary.notes());
                    }
                })
                .train();
        assertThat(notes)
                .contains("method.total_step is 40, the run has 6 steps: it ends before target_r 2 is reached;"
                        + " leave total_step out to take the run's");
        assertThat(AdapterFiles.read(first.output()).config()).containsEntry("rank_pattern", null);
        RunConfig second = file("second", METHOD + "\nadapter: " + first.output(), "");
        Trainer.of(second).train();
        AdapterFile found = AdapterFiles.read(second.output());
        assertThat(found.config()).containsEntry("total_step", 12).containsEntry("tinit", 2);
        assertThat(ranks(found)).isEqualTo(6 * 2);
    }
}
