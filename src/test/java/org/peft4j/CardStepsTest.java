package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.config.AdafactorConfig;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.Dtype;
import org.peft4j.config.LionConfig;
import org.peft4j.config.LoraFaConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.MuonConfig;
import org.peft4j.config.OptimizerConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SgdConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.TrainingException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.adalora.AdaLoraConfig;
import org.peft4j.method.adalora.RankBudget;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.RmsNorm;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Device;
import org.peft4j.run.RunResult;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/** Steps of a card are begun before the one before is known; all are told, in order, and what is saved is what was told. */
@Tag(HostDevices.TAG)
class CardStepsTest {
    private static final Path ROWS = Fixtures.ROOT.resolve("loss-parity/tiny/rows.jsonl");

    @TempDir
    Path directory;

    private RunConfig run(String name, String device, Dtype dtype, TrainingConfig training) {
        return RunConfig.builder()
                .model(ModelConfig.of(Fixtures.TINY_LLAMA)
                        .withDevice(device)
                        .withDtype(dtype)
                        .withDropout(ModelConfig.Dropout.OFF))
                .task(CausalLmConfig.defaults().withMaxLength(24))
                .data(new DataConfig(ROWS, null))
                .method(LoraConfig.builder().r(4).build())
                .training(training)
                .output(directory.resolve(name))
                .build();
    }

    private static TrainingConfig.Builder training(int steps) {
        return TrainingConfig.builder().maxSteps(steps).batchSize(2).learningRate(1e-2);
    }

    private static List<StepMetrics> steps(RunConfig run) throws Exception {
        List<StepMetrics> steps = new ArrayList<>();
        Trainer.train(run, false, new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                steps.add(metrics);
            }
        });
        return steps;
    }

    @Test
    void everyStepIsToldInOrderWithTheCpusNumbers() throws Exception {
        TrainingConfig training = training(5).saveEvery(2).build();
        List<StepMetrics> card = steps(run("card", "cuda:1", Dtype.FLOAT32, training));
        List<StepMetrics> cpu = steps(run("cpu", "cpu", Dtype.FLOAT32, training));
        assertThat(card).extracting(StepMetrics::step).containsExactly(1L, 2L, 3L, 4L, 5L);
        for (int i = 0; i < 5; i++) {
            assertThat(card.get(i).loss()).isCloseTo(cpu.get(i).loss(), within(1e-4));
            assertThat(card.get(i).gradNorm()).isCloseTo(cpu.get(i).gradNorm(), within(1e-3));
            assertThat(card.get(i).learningRates()).isEqualTo(cpu.get(i).learningRates());
            assertThat(card.get(i).speed().tokens())
                    .isEqualTo(cpu.get(i).speed().tokens());
        }
        assertThat(Files.readAllLines(directory.resolve("card/metrics.jsonl"))).hasSize(5);
    }

    private static org.assertj.core.data.Offset<Double> within(double distance) {
        return org.assertj.core.api.Assertions.within(distance);
    }

    /** Two processes on two cards do not meet: what is not asked for is not touched. */
    @Test
    void aRunTakesNothingOfTheOtherCard() throws Exception {
        HostDevices.recordCallsFor(1);
        RunConfig run = run("alone", "cuda:1", Dtype.FLOAT32, training(2).build());
        steps(run);
        try (BaseModel base = BaseModel.open(run.model())) {
            TextGenerator.of(base.load("trained", run.output())).generate("the cat");
        }
        assertThat(HostDevices.hasContext(1)).isTrue();
        assertThat(HostDevices.hasContext(0)).isFalse();
    }

    @Test
    void mergingOnACardWritesTheCpusModel() throws Exception {
        RunConfig run = run("adapter", "cuda:1", Dtype.FLOAT32, training(2).build());
        steps(run);
        Path cpu = directory.resolve("merged on the cpu");
        Path card = directory.resolve("merged on a card");
        Merge.merge(Fixtures.TINY_LLAMA, run.output(), cpu, false);
        HostDevices.recordCallsFor(1);
        Merge.merge(Fixtures.TINY_LLAMA, run.output(), card, false, "cuda:1");
        assertThat(HostDevices.wrongCalls()).isEmpty();
        Map<String, TensorData> expected = SafeTensors.read(cpu.resolve("model.safetensors"));
        Map<String, TensorData> found = SafeTensors.read(card.resolve("model.safetensors"));
        assertThat(found).containsOnlyKeys(expected.keySet());
        found.forEach((name, tensor) -> assertThat(Fixtures.maxDifference(
                        tensor.toFloats(), expected.get(name).toFloats()))
                .as(name)
                .isLessThan(1e-6));
        assertThat(card.resolve("config.json")).hasSameTextualContentAs(cpu.resolve("config.json"));
    }

    /** Each step reads its loss and its norm, and nothing else, wherever it stands. */
    @Test
    void aStepMoreIsTwoWaitsMore() throws Exception {
        steps(run("warm", "cuda:1", Dtype.FLOAT32, training(2).build()));
        HostDevices.recordCallsFor(1);
        steps(run("few", "cuda:1", Dtype.FLOAT32, training(2).build()));
        long few = waits();
        HostDevices.recordCallsFor(1);
        steps(run("more", "cuda:1", Dtype.FLOAT32, training(4).build()));
        assertThat(waits() - few).as("%s", HostDevices.waits()).isEqualTo(2 * 2);
        assertThat(HostDevices.wrongCalls()).isEmpty();
    }

    static Stream<OptimizerConfig> optimizers() {
        return Stream.of(
                SgdConfig.defaults().withMomentum(0.9, true).withLearningRate(0.1),
                LionConfig.defaults().withLearningRate(1e-3),
                AdafactorConfig.builder().scaleParameter(true).beta1(0.9).build(),
                LoraFaConfig.defaults(),
                MuonConfig.defaults());
    }

    /** Where they go is in OptimizersOnACardTest. */
    @ParameterizedTest
    @MethodSource("optimizers")
    void aStepMoreOfAnyOptimizerIsTwoWaitsMore(OptimizerConfig optimizer) throws Exception {
        String name = optimizer.type();
        HostDevices.recordCallsFor(1);
        steps(run(
                name, "cuda:1", Dtype.FLOAT32, training(1).optimizer(optimizer).build()));
        long one = waits();
        HostDevices.recordCallsFor(1);
        steps(run(
                name + " more",
                "cuda:1",
                Dtype.FLOAT32,
                training(2).optimizer(optimizer).build()));
        assertThat(waits() - one).as("%s", HostDevices.waits()).isEqualTo(2);
        assertThat(HostDevices.wrongCalls()).isEmpty();
    }

    /** AdaLoRA's ranks are taken on the card, which nobody waits for; the numbers are the CPU's. */
    @Test
    void ranksAreTakenWithoutWaiting() throws Exception {
        AdaLoraConfig method = AdaLoraConfig.builder()
                .budget(new RankBudget(2, 6, 1, 2, 1, 8))
                .alpha(40)
                .build();
        List<StepMetrics> card = steps(run("ranks", "cuda:1", Dtype.FLOAT32, method, 8));
        List<StepMetrics> cpu = steps(run("ranks of the cpu", "cpu", Dtype.FLOAT32, method, 8));
        for (int i = 0; i < 8; i++) {
            assertThat(card.get(i).loss()).isCloseTo(cpu.get(i).loss(), within(1e-3));
        }
        assertThat(AdapterFiles.read(directory.resolve("ranks")).config().get("rank_pattern"))
                .isEqualTo(AdapterFiles.read(directory.resolve("ranks of the cpu"))
                        .config()
                        .get("rank_pattern"));
        HostDevices.recordCallsFor(1);
        steps(run("few ranks", "cuda:1", Dtype.FLOAT32, method, 4));
        long few = waits();
        HostDevices.recordCallsFor(1);
        steps(run("more ranks", "cuda:1", Dtype.FLOAT32, method, 5));
        assertThat(waits() - few).as("%s", HostDevices.waits()).isEqualTo(2);
        assertThat(HostDevices.wrongCalls()).isEmpty();
    }

    /** The penalty is scaled with the loss, gradients are not when they are measured; steps that are left out take nothing. */
    @Test
    void ranksAreTakenInFloat16() throws Exception {
        AdaLoraConfig method = AdaLoraConfig.builder()
                .budget(new RankBudget(2, 6, 1, 2, 1, null))
                .alpha(40)
                .build();
        List<StepMetrics> half = steps(run("half ranks", "cuda:1", Dtype.FLOAT16, method, 8));
        List<StepMetrics> cpu = steps(run("whole ranks", "cpu", Dtype.FLOAT32, method, 8));
        assertThat(half.get(0).loss()).isCloseTo(cpu.get(0).loss(), within(1e-2));
        StepMetrics counted = half.stream()
                .filter(step -> step.gradNorm() > 0)
                .findFirst()
                .orElseThrow(); // those before it have changed nothing
        assertThat(counted.gradNorm())
                .isCloseTo(cpu.get(0).gradNorm(), within(0.3 * cpu.get(0).gradNorm()));
        Map<?, ?> pattern = (Map<?, ?>)
                AdapterFiles.read(directory.resolve("half ranks")).config().get("rank_pattern");
        assertThat(pattern.values().stream()
                        .flatMap(left -> ((List<?>) left).stream())
                        .filter(Boolean.TRUE::equals))
                .hasSize(2 * pattern.size());
    }

    private RunConfig run(String name, String device, Dtype dtype, MethodConfig method, int steps) {
        return run(name, device, dtype, training(steps).maxGradNorm(1).build()).withMethod(method);
    }

    /** Norms leave room behind rows as wide as those that LoRA has joined; norms of heads of that width do not. */
    @Test
    void headsAsWideAsAnAdaptedLayerAreNormed() throws Exception {
        steps(run("wide", "cuda:1", Dtype.FLOAT32, training(2).build()));
        int width = ((Number) Json.readObject(Fixtures.TINY_LLAMA.resolve("config.json"))
                        .get("hidden_size"))
                .intValue();
        Device card = Device.cuda(1);
        Packing rows = Packing.of(3);
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(rows)) {
            RmsNorm norm = new RmsNorm("norm.weight", card.move(Init.normal(1, "w", 1, width)), 1e-5, 0);
            Tensor heads = norm.heads(card.move(Init.normal(1, "x", 1, 3, 2, width)), rows, context);
            assertThat(heads.stride(1)).isEqualTo(width);
            assertThat(heads.stride(0)).isEqualTo(2L * width);
        }
    }

    private static long waits() {
        return HostDevices.waits().values().stream().mapToLong(Long::longValue).sum();
    }

    @Test
    void aLossThatIsNotFiniteLeavesTheAdapterThatWasSaved() throws Exception {
        TrainingConfig training =
                training(20).learningRate(1e30).maxGradNorm(0).saveEvery(1).build();
        RunConfig run = run("lost", "cuda:1", Dtype.FLOAT32, training);
        assertThatThrownBy(() -> steps(run))
                .isInstanceOf(TrainingException.class)
                .hasMessageContainingAll("not finite", "step", "What was saved is the adapter of an earlier step");
        if (Files.exists(run.output())) {
            AdapterFiles.read(run.output()).tensors().forEach((name, tensor) -> {
                for (float value : tensor.toFloats()) {
                    assertThat(value).as(name).isFinite();
                }
            });
        }
    }

    /** By tf32 products are rounded, as far as 10 bits behind the point go, and by float32 they are not. */
    @Test
    void tf32RoundsProductsAndNothingElse() throws Exception {
        TrainingConfig training = training(2).build();
        double exact =
                steps(run("exact", "cuda:1", Dtype.FLOAT32, training)).get(0).loss();
        double rounded =
                steps(run("tf32", "cuda:1", Dtype.TF32, training)).get(0).loss();
        double again =
                steps(run("again", "cuda:1", Dtype.FLOAT32, training)).get(0).loss();
        assertThat(rounded).isNotEqualTo(exact).isCloseTo(exact, within(exact / 1000));
        assertThat(again).isEqualTo(exact);
    }

    @Test
    void float16LeavesStepsOutWhoseGradientsOverflow() throws Exception {
        RunConfig run = run("half", "cuda:1", Dtype.FLOAT16, training(6).build());
        List<StepMetrics> steps = new ArrayList<>();
        RunResult result = Trainer.train(run, false, new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                steps.add(metrics);
            }
        });
        List<StepMetrics> cpu =
                steps(run("single", "cpu", Dtype.FLOAT32, training(6).build()));
        assertThat(steps.get(0).loss()).isCloseTo(cpu.get(0).loss(), within(1e-2));
        long leftOut = steps.stream().filter(step -> step.gradNorm() == 0).count();
        assertThat(result.message() == null ? "0 of 6 steps" : result.message()).startsWith(leftOut + " of 6 steps");
        assertThat(leftOut).isLessThan(6);
        assertThat(Map.of("status", result.status())).containsEntry("status", RunResult.Status.FINISHED);
    }
}
