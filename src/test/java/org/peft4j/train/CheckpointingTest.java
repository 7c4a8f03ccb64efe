package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.config.TrainingConfig.Checkpointing;
import org.peft4j.data.RowReader;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.ModelParts;
import org.peft4j.method.PromptStart;
import org.peft4j.method.Targets;
import org.peft4j.method.adalora.AdaLoraConfig;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.dept.DeptConfig;
import org.peft4j.method.ept.EptConfig;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.prefix.InitPrefix;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.ptuning.Encoder;
import org.peft4j.method.ptuning.PTuningConfig;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.tokens.TrainableTokensConfig;
import org.peft4j.nn.Tensors;
import org.peft4j.optim.AdamW;
import org.peft4j.task.Example;

/** Blocks that are computed again in backward give the same bits, with dropout, at every kind of point that is trained. */
class CheckpointingTest {
    private static final int ROWS = 12;
    private static final List<String> WORDS = List.of("email", "list number", "mail you", "spam", "url");

    private static OpenedModel bert;
    private static OpenedModel llama;

    @BeforeAll
    static void open() throws IOException {
        bert = OpenedModel.open(ModelConfig.of(Fixtures.TINY_BERT), 0); // with the dropout of its config
        llama = OpenedModel.open(ModelConfig.of(Fixtures.TINY_LLAMA), 0);
    }

    @AfterAll
    static void close() {
        bert.model().close();
        llama.model().close();
    }

    static Stream<Arguments> runs() {
        TaskConfig classes =
                SequenceClassificationConfig.builder().maxLength(16).build();
        TaskConfig tags = TokenClassificationConfig.defaults().withMaxLength(16).withNewHead(true);
        TaskConfig pairs = EmbeddingConfig.builder().maxLength(16).build();
        TaskConfig texts = CausalLmConfig.defaults().withMaxLength(16);
        MethodConfig lora = LoraConfig.builder()
                .r(4)
                .dropout(0.2)
                .targets(Targets.allLinear())
                .build();
        MethodConfig prefix = new PrefixConfig(3, true, 8, InitPrefix.RANDOM, List.of());
        return Stream.of(
                Arguments.of("bert", classes, lora),
                Arguments.of("bert", classes, prefix),
                Arguments.of(
                        "bert", classes, new BottleneckConfig(4, BottleneckConfig.Activation.RELU, 0.2, List.of())),
                Arguments.of("bert", classes, Ia3Config.defaults()),
                Arguments.of(
                        "bert", classes, ReftConfig.builder().r(2).dropout(0.2).build()),
                Arguments.of("bert", classes, PromptConfig.of(2)),
                Arguments.of("bert", classes, new DeptConfig(2, PromptStart.text("you"), 2, 8, 64, List.of())),
                Arguments.of("bert", classes, tokens(215, 252, 296)),
                Arguments.of("bert", classes, BitFitConfig.defaults()),
                Arguments.of("bert", tags, lora),
                Arguments.of("llama", texts, HftConfig.defaults().withRoundSteps(1)),
                Arguments.of("llama", texts, FullConfig.of(ModelParts.layers(-1))),
                Arguments.of("bert", pairs, lora),
                Arguments.of("llama", texts, lora),
                Arguments.of("llama", texts, AdaLoraConfig.defaults()),
                Arguments.of("llama", texts, prefix),
                Arguments.of("llama", texts, BottleneckConfig.seqBnInv()),
                Arguments.of("llama", texts, Ia3Config.defaults()),
                Arguments.of(
                        "llama", texts, ReftConfig.builder().positions(2, 3).build()),
                Arguments.of("llama", texts, PromptConfig.of(2)),
                Arguments.of("llama", texts, PromptConfig.of(2).withStart(PromptStart.text("you"))),
                Arguments.of("llama", texts, new PTuningConfig(2, Encoder.LSTM, 4, 3, 0.2, List.of())),
                Arguments.of("llama", texts, MultitaskPromptConfig.defaults()),
                Arguments.of("llama", texts, CptConfig.of(List.of(5, 9, 7, 11), List.of(1, 2, 3, 4))),
                Arguments.of("llama", texts, new DeptConfig(2, PromptStart.sampled(), 2, 8, 64, List.of())),
                Arguments.of(
                        "llama",
                        texts,
                        new EptConfig(2, PromptStart.RANDOM, 2, 64, new EptConfig.Network(4, 2, 4), List.of())),
                Arguments.of("llama", texts, tokens(82, 141, 180)));
    }

    /** Of words that the rows have. */
    private static MethodConfig tokens(Integer... ids) {
        return new TrainableTokensConfig(List.of(ids), Targets.modelDefault(), List.of());
    }

    @ParameterizedTest(name = "{0}, {1}, {2}")
    @MethodSource("runs")
    void recomputedBlocksGiveTheSameBits(String model, TaskConfig task, MethodConfig method) throws IOException {
        Trained kept = train(model, task, method, Checkpointing.NONE);
        Trained recomputed = train(model, task, method, Checkpointing.BLOCK);

        assertThat(kept.gradients()).allSatisfy(norm -> assertThat(norm).isPositive());
        assertThat(recomputed.losses()).isEqualTo(kept.losses());
        assertThat(recomputed.gradients()).isEqualTo(kept.gradients());
        assertThat(recomputed.parameters().keySet()).isEqualTo(kept.parameters().keySet());
        kept.parameters()
                .forEach((path, values) ->
                        assertThat(recomputed.parameters().get(path)).as(path).containsExactly(values));
        assertThat(recomputed.bytes()).as("kept for backward").isLessThan(kept.bytes());
    }

    /**
     * What three steps made.
     *
     * @param losses of each step
     * @param gradients their norms
     * @param bytes that the last micro-batch kept for its backward
     */
    private record Trained(List<Double> losses, List<Double> gradients, Map<String, float[]> parameters, long bytes) {}

    private static Trained train(String model, TaskConfig task, MethodConfig method, Checkpointing checkpointing)
            throws IOException {
        OpenedModel opened = model.equals("bert") ? bert : llama;
        RunConfig config = RunConfig.builder()
                .model(opened.config())
                .task(task)
                .method(method)
                .training(TrainingConfig.builder()
                        .learningRate(1e-2)
                        .checkpointing(checkpointing)
                        .build())
                .output(Path.of("not-written"))
                .build();
        RunRows rows =
                new RunRows(columns -> RowReader.of(IntStream.range(0, ROWS).mapToObj(CheckpointingTest::row)), null);
        try (LoadedRun<?> run = LoadedRun.load(config, opened, rows)) {
            return train(run);
        }
    }

    private static <E extends Example> Trained train(LoadedRun<E> run) {
        List<Double> losses = new ArrayList<>();
        List<Double> gradients = new ArrayList<>();
        try (AdamW optimizer = new AdamW(run.groups)) {
            TrainingStep<E> step = new TrainingStep<>(run, optimizer);
            for (int s = 1; s <= 3; s++) {
                TrainingStep.Outcome outcome = step.run(List.of(numbers(0, 5), numbers(5, ROWS)), s, 1);
                losses.add(outcome.loss());
                gradients.add(outcome.gradNorm());
            }
            Map<String, float[]> parameters = new LinkedHashMap<>();
            run.adapter
                    .parameters()
                    .forEach((path, parameter) -> parameters.put(path, Tensors.toFloats(parameter.value())));
            return new Trained(losses, gradients, parameters, step.keptForBackward());
        }
    }

    private static int[] numbers(int from, int to) {
        return IntStream.range(from, to).toArray();
    }

    /** A row that has what each of the tasks reads. */
    private static Map<String, Object> row(int i) {
        List<String> words = IntStream.range(0, 1 + i % 5)
                .mapToObj(w -> WORDS.get((i + 2 * w) % WORDS.size()))
                .toList();
        String[] tags = new String[words.size()];
        Arrays.setAll(tags, w -> words.get(w).contains("mail") ? "B-X" : "O");
        return Map.of(
                "text",
                String.join(" ", words),
                "label",
                i % 3 == 0 ? "ham" : "spam",
                "words",
                words,
                "tags",
                List.of(tags),
                "positive",
                WORDS.get(i % WORDS.size()));
    }
}
