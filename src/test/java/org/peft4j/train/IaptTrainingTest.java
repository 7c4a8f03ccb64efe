package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.TextClassifier;
import org.peft4j.TextGenerator;
import org.peft4j.Trainer;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.adaption.AdaptionPromptConfig;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.nn.Tensors;
import org.peft4j.optim.AdamW;
import org.peft4j.run.RunResult;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;
import org.peft4j.task.Example;

/** Runs with IAPT: the instruction that each task says, all parameters together or those of the activations apart. */
class IaptTrainingTest {
    private static final int ROWS = 12;
    private static final IaptConfig TOGETHER =
            IaptConfig.builder().bottleneckSize(6).shareGroup(1).build();
    private static final IaptConfig APART =
            TOGETHER.toBuilder().bilevel(true).bilevelShare(0.25).build();

    private static final SequenceClassificationConfig CLASSES =
            SequenceClassificationConfig.builder().maxLength(40).build();

    private static OpenedModel llama;
    private static OpenedModel bert;

    @TempDir
    Path dir;

    @BeforeAll
    static void open() throws IOException {
        llama = OpenedModel.open(ModelConfig.of(Fixtures.TINY_LLAMA), 0);
        bert = OpenedModel.open(ModelConfig.of(Fixtures.TINY_BERT), 0);
    }

    @AfterAll
    static void close() {
        llama.close();
        bert.close();
    }

    private static Map<String, Object> row(int i) {
        return Map.of("prompt", "mail " + "list ".repeat(i % 3) + i, "response", i % 2 == 0 ? " spam url" : " number");
    }

    private static LoadedRun<?> load(
            OpenedModel model, TaskConfig task, MethodConfig method, List<Map<String, Object>> rows)
            throws IOException {
        RunConfig config = RunConfig.builder()
                .model(model.config())
                .task(task)
                .method(method)
                .training(
                        TrainingConfig.builder().batchSize(2).learningRate(1e-2).build())
                .output(Path.of("not-written"))
                .build();
        return LoadedRun.load(config, model, new RunRows(columns -> RowReader.of(rows.stream()), null));
    }

    private static List<Map<String, Object>> rows() {
        return IntStream.range(0, ROWS).mapToObj(IaptTrainingTest::row).toList();
    }

    private static <E extends Example> int[] instructions(LoadedRun<E> run) {
        return run.task.instructions(
                run.train.batch(IntStream.range(0, run.train.examples().size()).toArray()));
    }

    @Test
    void theInstructionIsThePrompt() throws IOException {
        List<Map<String, Object>> prompts =
                rows().stream().map(row -> Map.of("text", row.get("prompt"))).toList();
        try (LoadedRun<?> run = load(llama, CausalLmConfig.defaults(), TOGETHER, rows());
                LoadedRun<?> alone = load(llama, CausalLmConfig.defaults(), TOGETHER, prompts)) {
            assertThat(instructions(run))
                    .isEqualTo(alone.train.examples().stream()
                            .mapToInt(Example::tokens)
                            .toArray());
            // Of texts all tokens are learnt but the first.
            assertThat(instructions(alone)).containsOnly(1);
        }
    }

    @Test
    void theInstructionIsTheWholeTextThatIsClassified() throws IOException {
        List<Map<String, Object>> texts = IntStream.range(0, ROWS)
                .mapToObj(i -> Map.<String, Object>of("text", "mail list " + i, "label", i % 2 == 0 ? "ham" : "spam"))
                .toList();
        try (LoadedRun<?> run = load(bert, CLASSES, TOGETHER, texts)) {
            assertThat(instructions(run))
                    .isEqualTo(run.train.examples().stream()
                            .mapToInt(Example::tokens)
                            .toArray());
        }
    }

    @Test
    void rowsOfTheTwoLevelsAreApart() throws IOException {
        try (LoadedRun<?> run = load(llama, CausalLmConfig.defaults(), APART, rows())) {
            List<Integer> first = numbers(run.batches.of(0));
            List<Integer> second =
                    numbers(java.util.Objects.requireNonNull(run.secondBatches).of(0));
            assertThat(second).hasSize(3).doesNotContainAnyElementsOf(first);
            assertThat(Stream.concat(first.stream(), second.stream()))
                    .containsExactlyInAnyOrderElementsOf(
                            IntStream.range(0, ROWS).boxed().toList());
            assertThat(run.notes).contains("3 of 12 rows train 'activation' alone, the others the rest of the adapter");
        }
        try (LoadedRun<?> run = load(llama, CausalLmConfig.defaults(), TOGETHER, rows())) {
            assertThat(run.secondBatches).isNull();
            assertThat(numbers(run.batches.of(0))).hasSize(ROWS);
        }
    }

    private static List<Integer> numbers(List<int[]> batches) {
        return batches.stream().flatMapToInt(Arrays::stream).boxed().toList();
    }

    @Test
    void aStepOfEachLevelChangesItsOwnParametersAlone() throws IOException {
        try (LoadedRun<?> run = load(llama, CausalLmConfig.defaults(), APART, rows())) {
            steps(run);
        }
    }

    private static <E extends Example> void steps(LoadedRun<E> run) {
        try (AdamW optimizer = new AdamW(run.groups(false));
                SecondLevel<E> second = new SecondLevel<>(run, java.util.Objects.requireNonNull(run.secondBatches))) {
            TrainingStep<E> first = new TrainingStep<>(run, optimizer);
            for (int step = 1; step <= 3; step++) { // W_up begins with zeros: the first step gives others no gradient
                Map<String, float[]> before = values(run);
                first.run(run.batches.of(0).subList(0, 1), step, 1);
                Map<String, float[]> between = values(run);
                second.run(step, 1);
                Map<String, float[]> behind = values(run);
                boolean moves = step > 1;
                before.forEach((path, values) -> {
                    boolean coefficient = path.startsWith("prompt_act.");
                    boolean changed = !Arrays.equals(between.get(path), values);
                    boolean changedThen = !Arrays.equals(behind.get(path), between.get(path));
                    if (coefficient || moves || path.contains(".up.")) {
                        assertThat(changed).as(path).isEqualTo(!coefficient);
                    }
                    assertThat(changedThen).as(path).isEqualTo(coefficient);
                });
            }
        }
    }

    private static Map<String, float[]> values(LoadedRun<?> run) {
        Map<String, float[]> values = new LinkedHashMap<>();
        run.adapter.parameters().forEach((path, parameter) -> values.put(path, Tensors.toFloats(parameter.value())));
        return values;
    }

    @Test
    void tooFewRowsForTwoLevelsAreRefused() {
        assertThatThrownBy(() -> load(llama, CausalLmConfig.defaults(), APART, List.of(row(0))))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("of 1 row none would be left");
        assertThatThrownBy(() -> TOGETHER.toBuilder().bilevelShare(0.3).build())
                .hasMessage(
                        "bilevelShare has no meaning without bilevel, got 0.3; leave it out, or set bilevel to true");
        assertThatThrownBy(() -> APART.toBuilder().bilevelShare(1).build())
                .hasMessage("bilevelShare must be above 0 and below 1, got 1.0");
    }

    private RunResult train(
            Path base, MethodConfig method, Path output, String rows, TaskConfig task, List<Double> losses)
            throws IOException {
        RunConfig config = RunConfig.builder()
                .model(base)
                .data(new org.peft4j.config.DataConfig(
                        Files.writeString(dir.resolve(output.getFileName() + ".jsonl"), rows), null))
                .task(task)
                .method(method)
                .training(TrainingConfig.builder()
                        .epochs(6)
                        .batchSize(3)
                        .learningRate(2e-2)
                        .build())
                .output(output)
                .build();
        return Trainer.of(config)
                .listener(new TrainListener() {
                    @Override
                    public void step(StepMetrics step, long total) {
                        losses.add(step.loss());
                    }
                })
                .train();
    }

    @ParameterizedTest
    @ValueSource(strings = {"together", "apart", "llama-adapter"})
    void aRunLearnsIsSavedGoesOnAndGenerates(String how) throws IOException {
        MethodConfig method = switch (how) {
            case "together" -> TOGETHER;
            case "apart" -> APART;
            default -> new AdaptionPromptConfig(4, 1, List.of());
        };
        StringBuilder rows = new StringBuilder();
        rows().forEach(row ->
                rows.append(org.peft4j.io.Json.write(row).replace("\n", " ")).append('\n'));
        List<Double> losses = new ArrayList<>();
        Path output = dir.resolve(how);
        RunResult result =
                train(Fixtures.TINY_LLAMA, method, output, rows.toString(), CausalLmConfig.defaults(), losses);
        assertThat(result.status()).isEqualTo(RunResult.Status.FINISHED);
        assertThat(mean(losses.subList(losses.size() - 3, losses.size())))
                .isLessThan((how.equals("llama-adapter") ? 0.995 : 0.9) * mean(losses.subList(0, 3)));
        try (TextGenerator generator = TextGenerator.open(Fixtures.TINY_LLAMA, output);
                TextGenerator plain = TextGenerator.open(Fixtures.TINY_LLAMA, null)) {
            TextGenerator.Options options =
                    TextGenerator.Options.defaults().withMaxNewTokens(5).withLogProbs(true);
            String prompt = "mail list 1";
            assertThat(generator.generate(List.of(prompt), options).get(0).logProbs())
                    .isNotEmpty()
                    .isNotEqualTo(
                            plain.generate(List.of(prompt), options).get(0).logProbs());
        }
        AdapterStore.Loaded again =
                AdapterStore.read(output, "again", llama.model().points());
        try (var adapter = again.adapter()) {
            assertThat(again.config()).isEqualTo(method);
            assertThat(adapter.secondLevel() != null).isEqualTo(how.equals("apart"));
        }
    }

    private static double mean(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
    }

    @Test
    void aClassifierLearns() throws IOException {
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
        List<Double> losses = new ArrayList<>();
        Path output = dir.resolve("classifier");
        train(Fixtures.TINY_BERT, TOGETHER, output, rows.toString(), CLASSES, losses);
        assertThat(losses.get(losses.size() - 1)).isLessThan(losses.get(0));
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, output)) {
            assertThat(classifier.predict("spam url 4").probabilities().get(1))
                    .isGreaterThan(
                            classifier.predict("list number 5").probabilities().get(1));
        }
    }
}
