package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.Dtype;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/**
 * Three steps of training, and what the trained model says then, on a card: the numbers are the CPU's. The tolerance is the rule of
 * the native tests: at most twice the error of the same formulas by libtorch's operations in the same type, measured against
 * float32.
 */
@Tag(HostDevices.TAG)
class OnCardsTest {
    private static final Device CARD = Device.cuda(1); // a thread begins on cuda:0: a forgotten device is seen
    private static final Path ROWS = Fixtures.ROOT.resolve("loss-parity/tiny/rows.jsonl");
    private static final List<String> PROMPTS = List.of("the cat", "a much longer beginning of a text", "no");

    private static final String FOR_ALL = "own";
    private static final String FOR_HOPPER = "own,dual_gemm=sm_90a,attention_forward=sm_90a,attention_backward=sm_90a";

    @TempDir
    static Path models;

    private static Path llama;
    private static Path bert;

    @TempDir
    Path runs;

    private int run;

    @BeforeAll
    static void makeModels() throws Exception {
        llama = WideModels.llama(models.resolve("llama"));
        bert = WideModels.bert(models.resolve("bert"));
    }

    @BeforeEach
    void record() {
        HostDevices.recordCallsFor(CARD.card());
    }

    @AfterEach
    void everyCallWasForTheCard() {
        Ops.setKernels("auto");
        assertThat(HostDevices.wrongCalls()).isEmpty();
    }

    /** What to compute, where and how. */
    private record Way(Device device, Dtype dtype, String kernels) {}

    /** Numbers by name. */
    private Map<String, float[]> trained(Path model, MethodConfig method, Way way) throws Exception {
        Ops.setKernels(way.kernels());
        boolean language = model.equals(llama);
        TaskConfig task = language
                ? CausalLmConfig.defaults().withMaxLength(24)
                : SequenceClassificationConfig.builder()
                        .labels("ham", "spam")
                        .maxLength(24)
                        .build();
        Path output = runs.resolve("run-" + run++);
        ModelConfig where = ModelConfig.of(model)
                .withDtype(way.dtype())
                .withDevice(way.device().toString())
                .withDropout(ModelConfig.Dropout.CONFIG);
        List<StepMetrics> steps = new ArrayList<>();
        Trainer.train(
                RunConfig.builder()
                        .model(where)
                        .task(task)
                        .data(new DataConfig(ROWS, null))
                        .method(method)
                        .training(TrainingConfig.builder()
                                .maxSteps(3)
                                .batchSize(3)
                                .learningRate(1e-3)
                                .build())
                        .output(output)
                        .build(),
                false,
                new TrainListener() {
                    @Override
                    public void step(StepMetrics metrics, long totalSteps) {
                        steps.add(metrics);
                    }
                });
        assertThat(steps).hasSize(3);
        Map<String, float[]> found = new LinkedHashMap<>();
        found.put("losses", floats(steps.stream().map(StepMetrics::loss)));
        found.put("norms", floats(steps.stream().map(StepMetrics::gradNorm)));
        Map<String, float[]> tensors = new TreeMap<>();
        AdapterFiles.read(output).tensors().forEach((name, t) -> tensors.put(name, t.toFloats()));
        found.putAll(tensors);
        try (BaseModel base = BaseModel.open(where)) {
            LoadedAdapter adapter = base.load("trained", output);
            if (language) {
                List<TextGenerator.Continuation> said = TextGenerator.of(adapter)
                        .generate(
                                PROMPTS,
                                TextGenerator.Options.defaults()
                                        .withLogProbs(true)
                                        .withMaxNewTokens(6));
                found.put(
                        "first log-probabilities",
                        floats(said.stream().map(one -> one.logProbs().get(0))));
                if (way.dtype() == Dtype.FLOAT32) { // where roundings choose no other token
                    found.put("ids", floats(said.stream().flatMap(one -> one.ids().stream())));
                    found.put("log-probabilities", floats(said.stream().flatMap(one -> one.logProbs().stream())));
                }
            } else {
                found.put("logits", logits(adapter));
            }
        }
        return found;
    }

    private static float[] logits(LoadedAdapter adapter) {
        return floats(TextClassifier.of(adapter).predict(PROMPTS).stream().flatMap(said -> said.logits().stream()));
    }

    private static float[] floats(Stream<? extends Number> numbers) {
        List<Float> all = numbers.map(Number::floatValue).toList();
        float[] values = new float[all.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = all.get(i);
        }
        return values;
    }

    static Stream<Arguments> trainings() {
        Map<String, MethodConfig> methods = new LinkedHashMap<>();
        methods.put("lora", LoraConfig.builder().r(4).dropout(0.1).build());
        methods.put("prefix", PrefixConfig.of(3));
        methods.put("ia3", Ia3Config.defaults());
        methods.put("prompt", PromptConfig.of(3));
        methods.put("bottleneck", new BottleneckConfig(8, BottleneckConfig.Activation.RELU, 0.1, List.of()));
        methods.put(
                "reft", ReftConfig.builder().r(2).positions(2, 1).dropout(0.1).build());
        return Stream.of("llama", "bert")
                .flatMap(model -> methods.entrySet().stream()
                        .flatMap(method -> Stream.of(Dtype.FLOAT32, Dtype.BFLOAT16)
                                .map(dtype -> Arguments.of(model, method.getKey(), method.getValue(), dtype))));
    }

    @ParameterizedTest(name = "{0}, {1}, {3}")
    @MethodSource("trainings")
    void trainingAndAnswersAreTheCpus(String family, String name, MethodConfig method, Dtype dtype) throws Exception {
        Path model = family.equals("llama") ? llama : bert;
        Map<String, float[]> reference = trained(model, method, new Way(Device.CPU, Dtype.FLOAT32, "reference"));
        Map<String, float[]> plain = trained(model, method, new Way(CARD, dtype, "reference"));
        Map<String, float[]> onCpu = trained(model, method, new Way(Device.CPU, Dtype.FLOAT32, "auto"));
        for (String kernels : List.of("auto", FOR_ALL, FOR_HOPPER)) {
            Map<String, float[]> own = trained(model, method, new Way(CARD, dtype, kernels));
            assertThat(own).containsOnlyKeys(plain.keySet());
            own.forEach((what, values) -> {
                if (dtype != Dtype.FLOAT32 && isTrained(what)) {
                    return; // AdamW's first steps are of the rate's size: a gradient rounded beyond 0 moves a number by
                    // twice that
                }
                float[] exact = reference.get(what);
                double largest = maxDifference(exact, new float[exact.length]);
                double error = Math.max(maxDifference(plain.get(what), exact), maxDifference(onCpu.get(what), exact));
                assertThat(maxDifference(values, exact))
                        .as("%s by %s, largest %s, error of plain operations %s", what, kernels, largest, error)
                        .isLessThanOrEqualTo(2 * error + 1e-5 + ulp(dtype, largest));
            });
        }
    }

    private static boolean isTrained(String what) {
        return what.startsWith("base_model.") || what.startsWith("prompt_");
    }

    private static double ulp(Dtype dtype, double largest) {
        return Math.ulp((float) largest) * (dtype == Dtype.FLOAT32 ? 1 : 1 << 16);
    }

    /** Each row of {@code peft4j info}'s table, and each kernel behind it. */
    @Test
    void everyKernelIsLaunchedForTheRightCard() throws Exception {
        for (Dtype dtype : List.of(Dtype.FLOAT32, Dtype.BFLOAT16)) {
            Way own = new Way(CARD, dtype, FOR_ALL);
            trained(llama, LoraConfig.builder().r(4).dropout(0.1).build(), own);
            trained(llama, PrefixConfig.of(3), own);
            trained(bert, new BottleneckConfig(8, BottleneckConfig.Activation.GELU, 0.1, List.of()), own);
        }
        trained(llama, LoraConfig.builder().r(4).build(), new Way(CARD, Dtype.BFLOAT16, FOR_HOPPER));
        trained(
                llama,
                PrefixConfig.of(3),
                new Way(CARD, Dtype.BFLOAT16, "auto")); // which joins a prefix to the library's attention
        trained(bert, BitFitConfig.defaults(), new Way(CARD, Dtype.FLOAT32, FOR_ALL)); // norms that are trained
        promptsOfInstructions();
        List<String> never = HostDevices.launches().entrySet().stream()
                .filter(function -> function.getValue() == 0)
                .map(Map.Entry::getKey)
                .toList();
        assertThat(never).isEmpty();
    }

    @Test
    void nothingIsLeftOnTheCardWhenARunIsOver() throws Exception {
        Way own = new Way(CARD, Dtype.FLOAT32, FOR_ALL);
        LoraConfig method = LoraConfig.builder().r(4).dropout(0.1).build();
        trained(llama, method, own); // what libtorch and we ourselves make once
        long onCard = Ops.liveBytes(CARD);
        long onTheOther = Ops.liveBytes(Device.cuda(0));
        long onCpu = Ops.liveBytes();
        trained(llama, method, own);
        assertThat(Ops.liveBytes(CARD)).isEqualTo(onCard);
        assertThat(Ops.liveBytes()).isEqualTo(onCpu);
        assertThat(Ops.liveBytes(Device.cuda(0))).isEqualTo(onTheOther);
        assertThat(Ops.peakBytes(CARD)).isGreaterThan(onCard + 200_000); // the weights' bytes at least
    }

    /** Steps are begun ahead of each other there, and rounds change between them. */
    @Test
    void roundsOfHalvesAreTheCpus() throws Exception {
        HftConfig rounds = HftConfig.defaults().withRoundSteps(1);
        Map<String, float[]> expected = trained(llama, rounds, new Way(Device.CPU, Dtype.FLOAT32, "auto"));
        Map<String, float[]> own = trained(llama, rounds, new Way(CARD, Dtype.FLOAT32, FOR_ALL));
        assertThat(maxDifference(own.get("losses"), expected.get("losses"))).isLessThan(1e-4);
        assertThat(maxDifference(own.get("log-probabilities"), expected.get("log-probabilities")))
                .isLessThan(1e-3);
    }

    @Test
    void aFullCardIsSaidSo() throws Exception {
        long enough = 8L << 30;
        HostDevices.setMemory(CARD.card(), Ops.liveBytes(CARD) + 100_000);
        try {
            assertThatThrownBy(() -> trained(llama, PrefixConfig.of(3), new Way(CARD, Dtype.FLOAT32, FOR_ALL)))
                    .hasMessageContainingAll("the model's weights need", CARD.toString(), "free");
            HostDevices.setMemory(
                    CARD.card(), Ops.liveBytes(CARD) + 600_000); // the weights, but not a copy of four bytes each
            assertThatThrownBy(() -> trained(llama, FullConfig.defaults(), new Way(CARD, Dtype.BFLOAT16, FOR_ALL)))
                    .hasMessageContainingAll("the adapter's ", "numbers alone need", CARD.toString(), "free");
        } finally {
            HostDevices.setMemory(CARD.card(), enough);
        }
    }

    /** What no method offers yet: prompt_generator, and its activation. */
    private static void promptsOfInstructions() {
        Ops.setKernels(FOR_ALL);
        try (PointerScope scope = new PointerScope()) {
            UnaryOperator<Tensor> trained =
                    t -> CARD.move(t, ScalarType.Float).detach().requires_grad_(true);
            Packing packing = Packing.of(5, 3);
            Tensor instruction = Tensors.ofLongs(new long[] {1, 1, 0, 1, 0, 1, 0, 1}, 8);
            Ops.Rational activation = new Ops.Rational(
                    Ops.RationalVersion.A,
                    trained.apply(Init.normal(3, "numerator", 1, 1, 6)),
                    trained.apply(Init.normal(3, "denominator", 1, 1, 4)),
                    0);
            Tensor h = trained.apply(Init.normal(3, "h", 1, 8, 16));
            Tensor prompts = Ops.promptGenerator(
                    h,
                    packing.cuSeqlens(),
                    instruction.to(ScalarType.Bool),
                    new Ops.PromptGenerator(
                            trained.apply(Init.normal(3, "down", 0.3, 4, 16)),
                            null,
                            trained.apply(Init.normal(3, "pool", 1, 3, 4)),
                            activation,
                            trained.apply(Init.normal(3, "up", 0.5, 16, 4)),
                            null));
            prompts.sum().backward();
            assertThat(h.grad().is_cuda()).isTrue();
        }
    }
}
