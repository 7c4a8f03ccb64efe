package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Trainer;
import org.peft4j.config.AdafactorConfig;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.GroupOverride;
import org.peft4j.config.LionConfig;
import org.peft4j.config.LoraFaConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.OptimizerConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.Schedule;
import org.peft4j.config.SgdConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.data.RowReader;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.iapt.InitPrompt;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.optim.LoraFa;
import org.peft4j.optim.Optimizer;
import org.peft4j.optim.ParameterGroup;
import org.peft4j.optim.RuleOptimizer;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunResult;
import org.peft4j.run.RunSummary;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;
import org.peft4j.task.Example;

/** Runs with each optimiser, and LoRA-FA, for which a run lets A of each LoRA stay. */
class OptimizerRunsTest {
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

    private static LoadedRun<?> load(MethodConfig method, TrainingConfig.Builder training) throws IOException {
        RunConfig config = RunConfig.builder()
                .model(llama.config())
                .task(CausalLmConfig.defaults().withMaxLength(16))
                .method(method)
                .training(training.batchSize(4).build())
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

    private static TrainingConfig.Builder with(OptimizerConfig optimizer) {
        return TrainingConfig.builder().optimizer(optimizer);
    }

    private static Map<String, float[]> values(LoadedRun<?> run) {
        Map<String, float[]> values = new LinkedHashMap<>();
        run.adapter.parameters().forEach((path, parameter) -> values.put(path, Tensors.toFloats(parameter.value())));
        return values;
    }

    private static <E extends Example> TrainingStep<E> steps(LoadedRun<E> run, Optimizer optimizer, int number) {
        TrainingStep<E> step = new TrainingStep<>(run, optimizer);
        for (int i = 1; i <= number; i++) {
            step.run(List.of(new int[] {0, 1, 2, 3, 4, 5}), i, 1);
        }
        return step;
    }

    /** From a run file: it learns, tells its rates, and saves what any run saves. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "{type: adamw, learning_rate: 2e-2, beta2: 0.99, eps: 1e-6}",
                "{type: sgd, learning_rate: 0.2, momentum: 0.9, nesterov: true}",
                "{type: lion, learning_rate: 5e-3, weight_decay: 0.1}",
                "{type: adafactor, learning_rate: 3e-2, weight_decay: 1e-5}",
                "{type: adafactor, relative_step: true}",
                "{type: lora-fa, learning_rate: 3e-2}",
                "{type: muon, learning_rate: 2e-2, adjust_lr_fn: match_rms_adamw}"
            })
    void aRunLearns(String optimizer) throws IOException {
        String rows = IntStream.range(0, ROWS)
                .mapToObj(i -> "{\"text\": \"%s %d\", \"label\": \"%s\"}\n"
                        .formatted(i % 2 == 0 ? "spam url" : "list number", i, i % 2 == 0 ? "spam" : "ham"))
                .collect(Collectors.joining());
        boolean relative = optimizer.contains("relative_step");
        Path yaml = Files.writeString(dir.resolve("run.yaml"), """
                model: {path: %s, dropout: 0}
                task: {type: sequence-classification, max_length: 40}
                data: {train: %s}
                method: {type: lora, r: 2}
                training: {epochs: 5, batch_size: 4, schedule: constant, optimizer: %s}
                output: %s
                """.formatted(
                        Fixtures.TINY_BERT.toAbsolutePath(),
                        Files.writeString(dir.resolve("train.jsonl"), rows),
                        optimizer,
                        dir.resolve("run")));
        RunConfig config = RunConfigFile.read(yaml, List.of());
        List<StepMetrics> steps = new ArrayList<>();
        List<Long> trained = new ArrayList<>();
        RunResult result = Trainer.of(config)
                .listener(new TrainListener() {
                    @Override
                    public void started(RunSummary summary) {
                        trained.add(summary.parameters().trained());
                    }

                    @Override
                    public void step(StepMetrics step, long total) {
                        steps.add(step);
                    }
                })
                .train();
        assertThat(result.status()).isEqualTo(RunResult.Status.FINISHED);
        double last = steps.get(steps.size() - 1).loss();
        assertThat(last).isLessThan(steps.get(0).loss() - 0.05);
        boolean fa = optimizer.contains("lora-fa");
        assertThat(steps.get(0).learningRates().keySet())
                .contains("lora_B")
                .matches(groups -> groups.contains("lora_A") != fa);
        double first = relative ? 1e-2 : config.training().optimizer().learningRate();
        assertThat(steps.get(3).learningRates()).containsEntry("lora_B", first);
        Map<String, TensorData> file = AdapterFiles.read(config.output()).tensors();
        long all = file.values().stream()
                .mapToLong(tensor -> tensor.toFloats().length)
                .sum();
        long as = file.values().stream()
                .filter(tensor -> tensor.name().contains("lora_A"))
                .mapToLong(tensor -> tensor.toFloats().length)
                .sum();
        assertThat(as).isPositive();
        assertThat(trained).containsExactly(all - (fa ? as : 0));
    }

    /** PEFT's create_lorafa_optimizer on the same adapter; see build-scripts/fixtures/optimizers.py. */
    @Test
    void loraFaEqualsPefts() throws Exception {
        Map<String, TensorData> expected = Fixtures.read(Fixtures.ROOT.resolve("optimizers.safetensors"));
        Fixtures.Sentences texts =
                Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
        try (HeadedModel model = HeadedModel.open(
                org.peft4j.io.ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0))) {
            AdapterStore.Loaded loaded = AdapterStore.read(Fixtures.TINY_LLAMA.resolve("lora"), "it", model.points());
            try (Adapter adapter = loaded.adapter()) {
                List<LowRankPair> pairs = Methods.of(loaded.config()).lowRankPairs(loaded.config(), adapter);
                pairs.forEach(pair -> pair.a().freeze());
                List<Parameter> bs = pairs.stream().map(LowRankPair::b).toList();
                float[] losses = expected.get("lora-fa.losses").toFloats();
                try (Optimizer optimizer =
                        new RuleOptimizer(new LoraFa(pairs), List.of(new ParameterGroup("lora_B", 1e-2, 0.01, bs)))) {
                    for (int step = 0; step < losses.length; step++) {
                        assertThat(LanguageTraining.backward(model, adapter, texts, BlockRunner.plain(), step))
                                .as("loss %d", step)
                                .isCloseTo(losses[step], Offset.offset(1e-4));
                        optimizer.step(1, 0);
                    }
                }
                assertThat(bs).hasSize(8);
                for (Parameter b : bs) {
                    float[] theirs = expected.get("lora-fa." + b.path()).toFloats();
                    assertThat(maxDifference(Tensors.toFloats(b.value()), theirs))
                            .as(b.path())
                            .isLessThan(1e-3);
                }
            }
        }
    }

    private static final LoraConfig LORA =
            LoraConfig.builder().r(2).alpha(4).targets("q_proj", "down_proj").build();

    @Test
    void ofLoraFaAStays() throws IOException {
        LoraConfig more = LORA.toBuilder()
                .modulesToSave(List.of("lm_head"))
                .trainableTokens(List.of(llama.tokenizer(100).encodePlainWhole("list")[0]))
                .build();
        try (LoadedRun<?> run = load(more, with(LoraFaConfig.defaults().withLearningRate(1e-2)));
                Optimizer optimizer = run.optimizer(run.groups)) {
            Map<String, float[]> before = values(run);
            assertThat(run.groups)
                    .extracting(ParameterGroup::name)
                    .contains("lora_B")
                    .doesNotContain("lora_A");
            steps(run, optimizer, 2);
            values(run)
                    .forEach((path, values) -> assertThat(Arrays.equals(values, before.get(path)))
                            .as(path)
                            .isEqualTo(path.contains("lora_A")));
            long as = run.adapter.parameters().values().stream()
                    .filter(parameter -> parameter.path().contains("lora_A"))
                    .mapToLong(Parameter::elements)
                    .sum();
            assertThat(as)
                    .isEqualTo(2
                            * 2
                            * (32
                                    + run.model.points().linears().stream()
                                            .filter(point -> point.path().endsWith("layers.0.mlp.down_proj"))
                                            .findFirst()
                                            .orElseThrow()
                                            .in()));
            assertThat(run.trained()).isEqualTo(run.adapter.elements() - as);
        }
    }

    /** Layers need not keep what they read; computed again, blocks give the same. */
    @Test
    void loraFaKeepsLessForBackward() throws IOException {
        long kept;
        try (LoadedRun<?> run = load(LORA, with(OptimizerConfig.defaults()));
                Optimizer optimizer = run.optimizer(run.groups)) {
            kept = steps(run, optimizer, 1).keptForBackward();
        }
        Map<String, float[]> plain;
        try (LoadedRun<?> run = load(LORA, with(LoraFaConfig.defaults()));
                Optimizer optimizer = run.optimizer(run.groups)) {
            assertThat(steps(run, optimizer, 3).keptForBackward()).isLessThan(kept);
            plain = values(run);
        }
        try (LoadedRun<?> run =
                        load(LORA, with(LoraFaConfig.defaults()).checkpointing(TrainingConfig.Checkpointing.BLOCK));
                Optimizer optimizer = run.optimizer(run.groups)) {
            steps(run, optimizer, 3);
            values(run).forEach((path, values) -> assertThat(values).as(path).containsExactly(plain.get(path)));
        }
    }

    /** A LoRA that texts call up: in a step that none does, what B knows decays, and A has no gradient. */
    @Test
    void loraFaOfAnActivatedLora() throws IOException {
        int token = llama.tokenizer(100).encodePlainWhole("list")[0];
        LoraConfig activated =
                LORA.toBuilder().aloraInvocationTokens(List.of(token)).build();
        try (LoadedRun<?> run = load(activated, with(LoraFaConfig.defaults()));
                Optimizer optimizer = run.optimizer(run.groups)) {
            activated(run, optimizer);
        }
    }

    private static <E extends Example> void activated(LoadedRun<E> run, Optimizer optimizer) {
        Map<String, float[]> before = values(run);
        TrainingStep<E> step = new TrainingStep<>(run, optimizer);
        step.run(List.of(new int[] {0, 4, 8}), 1, 1); // rows without it
        step.run(List.of(new int[] {1, 2, 3}), 2, 1);
        values(run)
                .forEach((path, values) -> assertThat(Arrays.equals(values, before.get(path)))
                        .as(path)
                        .isEqualTo(path.contains("lora_A")));
        run.adapter.parameters().forEach((path, parameter) -> {
            if (path.contains("lora_B")) {
                assertThat(optimizer.steps(path)).isEqualTo(2);
            }
            assertThat(parameter.value().grad().defined()).isFalse();
        });
    }

    private static void refused(MethodConfig method, String message) {
        assertThatThrownBy(() -> load(method, with(LoraFaConfig.defaults())).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith(message)
                .hasMessageEndingWith("; training.optimizer is lora-fa, which trains B of plain LoRA at linear layers:"
                        + " choose another, such as adamw");
    }

    @Test
    void loraFaIsForPlainLora() throws IOException {
        refused(PromptConfig.of(2), "method.type must be lora, got prompt-tuning");
        refused(LORA.toBuilder().dora(true).build(), "method.dora must be false, got true");
        refused(LORA.toBuilder().loraBias(true).build(), "method.lora_bias must be false, got true");
        refused(
                LORA.toBuilder().targets("q_proj", "embed_tokens").build(),
                "method.targets must be linear layers, got the tensor model.embed_tokens.lora_embedding_A");
        assertThatThrownBy(() -> load(
                                LORA,
                                with(LoraFaConfig.defaults()).groups(Map.of("lora_A", new GroupOverride(1e-3, null))))
                        .close())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("training.groups: 'lora_A' is no parameter group of this run")
                .hasMessageContaining("they are [lora_B]");
        try (LoadedRun<?> run = load(LORA.toBuilder().bias(Bias.NONE).build(), with(LoraFaConfig.defaults()))) {
            assertThat(run.trained()).isPositive();
        }
    }

    /** Groups keep their rates, whatever the optimiser is. */
    @Test
    void groupsHaveTheirOwnRatesAndDecays() throws IOException {
        Map<String, GroupOverride> still = Map.of("lora_A", new GroupOverride(0.0, null));
        for (OptimizerConfig optimizer : List.of(
                SgdConfig.defaults().withMomentum(0.9, false),
                LionConfig.defaults(),
                AdafactorConfig.builder().beta1(0.9).build())) {
            try (LoadedRun<?> run = load(LORA, with(optimizer).groups(still));
                    Optimizer made = run.optimizer(run.groups)) {
                Map<String, float[]> before = values(run);
                steps(run, made, 2);
                values(run)
                        .forEach((path, values) -> assertThat(Arrays.equals(values, before.get(path)))
                                .as(optimizer.type() + " " + path)
                                .isEqualTo(path.contains("lora_A")));
            }
        }
    }

    @Test
    void theSecondLevelHasTheSameOptimizer() throws IOException {
        IaptConfig apart = IaptConfig.builder()
                .promptInit(InitPrompt.NORMAL)
                .bilevel(true)
                .bilevelShare(0.25)
                .build();
        try (LoadedRun<?> run = load(apart, with(LionConfig.defaults().withLearningRate(1e-3)))) {
            second(run);
        }
    }

    private static <E extends Example> void second(LoadedRun<E> run) {
        try (SecondLevel<E> second = new SecondLevel<>(run, java.util.Objects.requireNonNull(run.secondBatches))) {
            Map<String, float[]> before = values(run);
            second.run(1, 0.5);
            values(run).forEach((path, values) -> {
                if (path.startsWith("prompt_act.")) {
                    // Lion moves each number by the rate, up or down
                    assertThat(maxDifference(values, before.get(path))).isCloseTo(5e-4, Offset.offset(1e-6));
                } else {
                    assertThat(values).containsExactly(before.get(path));
                }
            });
        }
    }

    @Test
    void aRelativeStepIsToldAsItIs() throws IOException {
        try (LoadedRun<?> run = load(LORA, with(AdafactorConfig.relative(true)).schedule(Schedule.CONSTANT));
                Optimizer optimizer = run.optimizer(run.groups)) {
            ParameterGroup group = run.groups.get(0);
            assertThat(optimizer.rate(group, 1, 4)).isEqualTo(4e-6);
            assertThat(optimizer.rate(group, 1, 1_000_000)).isEqualTo(1e-3);
            steps(run, optimizer, 2);
            values(run).forEach((path, values) -> {
                for (float value : values) {
                    assertThat(value).as(path).isFinite();
                }
            });
        }
    }
}
