package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.assertj.core.data.Offset;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Combine;
import org.peft4j.Convert;
import org.peft4j.Fixtures;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.adalora.AdaLoraConfig;
import org.peft4j.method.adalora.RankBudget;
import org.peft4j.method.adalora.RankImportance;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.StepHook;
import org.peft4j.ops.Ops;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.ParameterGroup;

/** AdaLoRA's ranks while they are taken: a whole run of PEFT's, from build-scripts/fixtures/adalora.py, files, state, and refusals. */
class AdaLoraRunTest {
    private static final Path ROOT = Fixtures.ROOT.resolve("adalora");
    private static final Path FINAL = Fixtures.ROOT.resolve("methods/adalora-run/tiny-llama");
    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
    private static final Map<String, TensorData> EXPECTED = Fixtures.read(FINAL.resolve("expected.safetensors"));
    private static final int STEPS = 12;
    private static final int MIDDLE = 6;

    private static HeadedModel llama;

    @TempDir
    Path dir;

    @BeforeAll
    static void open() throws Exception {
        llama = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
    }

    @AfterAll
    static void close() {
        llama.close();
    }

    private static AdapterStore.Loaded read(Path from) throws Exception {
        return AdapterStore.read(from, "it", llama.points());
    }

    private static StepHook hook(Adapter adapter) {
        assertThat(adapter.hooks()).hasSize(1);
        return adapter.hooks().get(0);
    }

    private static float[] logits(Adapter adapter) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(TEXTS.packing(), adapter)) {
            Tensor h = BlockRunner.plain().forward(llama.model(), Tokens.of(TEXTS.tokens()), ReadRows.TEXT, context);
            return Tensors.toFloats(llama.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    private static AdamW optimizer(Adapter adapter) {
        return new AdamW(List.of(new ParameterGroup(
                "all", 2e-2, 0.01, List.copyOf(adapter.parameters().values()))));
    }

    /** One step of the fixture's run; returns its loss and its norm. */
    private static double[] step(Adapter adapter, AdamW optimizer, int number) {
        double loss = LanguageTraining.backward(llama, adapter, TEXTS, BlockRunner.plain(), number);
        StepHook.Step step = new StepHook.Step(number, STEPS);
        double norm = optimizer.step(1, 0.5, 1, new AdamW.Around() {
            @Override
            public void before() {
                hook(adapter).beforeOptimizer(step);
            }

            @Override
            public void after() {
                try (PointerScope scope = new PointerScope()) {
                    hook(adapter).afterOptimizer(step);
                }
            }
        });
        return new double[] {loss, norm};
    }

    private AdapterFile written(AdapterStore.Loaded of) throws Exception {
        AdapterStore.write(
                dir.resolve("written"), of.adapter(), of.config(), llama.points(), "tiny-llama", "CAUSAL_LM");
        return AdapterFiles.read(dir.resolve("written"));
    }

    private void equalsPefts(AdapterStore.Loaded ours, Path directory) throws Exception {
        AdapterFile own = written(ours);
        AdapterFile theirs = AdapterFiles.read(directory);
        assertThat(own.config().get("rank_pattern")).isEqualTo(theirs.config().get("rank_pattern"));
        Map<String, Object> left = new TreeMap<>(own.config());
        Map<String, Object> right = new TreeMap<>(theirs.config());
        left.remove("peft_version");
        right.remove("peft_version");
        assertThat(left.keySet()).isEqualTo(right.keySet());
        left.forEach((key, value) ->
                assertThat(PeftFilesTest.normal(value)).as(key).isEqualTo(PeftFilesTest.normal(right.get(key))));
        assertThat(new TreeSet<>(own.tensors().keySet()))
                .isEqualTo(new TreeSet<>(theirs.tensors().keySet()));
        theirs.tensors().forEach((name, data) -> {
            assertThat(own.tensors().get(name).shape()).as(name).isEqualTo(data.shape());
            assertThat(maxDifference(own.tensors().get(name).toFloats(), data.toFloats()))
                    .as(name)
                    .isLessThan(1e-3);
        });
        AdapterStore.Loaded again = read(dir.resolve("written"));
        try (Adapter adapter = again.adapter()) {
            assertThat(again.notes()).isEmpty();
            assertThat(maxDifference(logits(adapter), logits(ours.adapter())))
                    .as("what was taken away was zero")
                    .isLessThan(1e-6);
        }
    }

    /** Losses with the penalty, norms before clipping, the ranks that are left, what is computed with them. */
    @Test
    void aWholeRunEqualsPefts() throws Exception {
        AdapterStore.Loaded loaded = read(ROOT.resolve("start"));
        float[] losses = EXPECTED.get("run.losses").toFloats();
        float[] norms = EXPECTED.get("run.norms").toFloats();
        try (Adapter adapter = loaded.adapter();
                AdamW optimizer = optimizer(adapter)) {
            assertThat(loaded.notes()).isEmpty();
            assertThat(hook(adapter).begin(STEPS)).isEmpty();
            for (int number = 1; number <= STEPS; number++) {
                double[] done = step(adapter, optimizer, number);
                assertThat(done[0]).as("loss of step %d", number).isCloseTo(losses[number - 1], Offset.offset(1e-4));
                assertThat(done[1]).as("norm of step %d", number).isCloseTo(norms[number - 1], Offset.offset(1e-3));
                if (number == MIDDLE) {
                    equalsPefts(loaded, ROOT.resolve("middle"));
                    assertThat(maxDifference(
                                    logits(adapter), EXPECTED.get("run.middle").toFloats()))
                            .isLessThan(1e-3);
                }
            }
            equalsPefts(loaded, FINAL);
            assertThat(maxDifference(logits(adapter), EXPECTED.get("logits").toFloats()))
                    .isLessThan(2e-3);
        }
    }

    /** Ranks that were taken are trained on, and may have come back when the adapter is saved between two choices. */
    @Test
    void savedBetweenTwoChoicesNothingIsLost() throws Exception {
        AdapterStore.Loaded loaded = read(ROOT.resolve("start"));
        try (Adapter adapter = loaded.adapter();
                AdamW optimizer = optimizer(adapter)) {
            hook(adapter).begin(STEPS);
            for (int number = 1; number <= MIDDLE + 1; number++) {
                step(adapter, optimizer, number);
            }
            written(loaded);
            try (Adapter again = read(dir.resolve("written")).adapter()) {
                assertThat(maxDifference(logits(again), logits(adapter))).isLessThan(1e-6);
            }
        }
    }

    /** Parameters, moments of the optimiser and the hook's state from the middle: the same bits as without a break. */
    @ParameterizedTest
    @ValueSource(ints = {2, 6, 7, 10})
    void fromASavedStateItGoesOnToTheSameBits(int at) throws Exception {
        try (Adapter one = read(ROOT.resolve("start")).adapter();
                Adapter two = read(ROOT.resolve("start")).adapter()) {
            Map<String, Tensor> state = new LinkedHashMap<>();
            run(one, 1, STEPS, at, two, state);
            assertThat(state).isNotEmpty();
            hook(two).begin(STEPS);
            hook(two).restore(state);
            run(two, at + 1, STEPS, 0, one, new LinkedHashMap<>());
            one.parameters()
                    .forEach((path, parameter) -> assertThat(
                                    Tensors.toFloats(two.parameters().get(path).value()))
                            .as(path)
                            .isEqualTo(Tensors.toFloats(parameter.value())));
            state.values().forEach(Tensor::close);
        }
    }

    /** Steps whose gradients are those of the number alone, by an optimiser without moments. */
    private static void run(Adapter adapter, int from, int to, int copyAt, Adapter copy, Map<String, Tensor> state) {
        for (int number = from; number <= to; number++) {
            LanguageTraining.backward(llama, adapter, TEXTS, BlockRunner.plain(), number);
            try (PointerScope scope = new PointerScope()) {
                adapter.parameters()
                        .values()
                        .forEach(p ->
                                p.value().detach().sub_(p.value().grad().mul(new org.bytedeco.pytorch.Scalar(0.5))));
                hook(adapter).afterOptimizer(new StepHook.Step(number, to));
            }
            adapter.parameters().values().forEach(p -> p.value().mutable_grad().reset());
            if (number == copyAt) {
                adapter.parameters()
                        .forEach((path, p) -> copy.parameters().get(path).set(Tensors.toFloats(p.value())));
                hook(adapter)
                        .state()
                        .forEach((name, tensor) -> state.put(name, org.peft4j.nn.Scopes.owned(() -> tensor.clone())));
            }
        }
    }

    @Test
    void aStateOfOtherTensorsIsRefused() throws Exception {
        try (Adapter adapter = read(ROOT.resolve("start")).adapter();
                Adapter cut = read(FINAL).adapter();
                PointerScope scope = new PointerScope()) {
            StepHook hook = hook(adapter);
            hook.begin(STEPS);
            String path = "model.layers.0.mlp.down_proj.lora_E";
            assertThatThrownBy(() -> hook.restore(Map.of("other", torch.zeros(1))))
                    .hasMessageContaining("tensors of no layer here, such as other");
            assertThatThrownBy(() -> hook.restore(Map.of("kept." + path, torch.zeros(4, 1))))
                    .hasMessageContaining("lacks kept.");
            assertThatThrownBy(() -> hook.restore(Map.of("importance." + path, torch.zeros(2))))
                    .isInstanceOf(IllegalArgumentException.class);
            assertThat(hook.state()).isEmpty();
            assertThatThrownBy(() -> hook(cut).restore(Map.of("kept." + path, torch.zeros(0, 1))))
                    .isInstanceOf(IllegalArgumentException.class);
        }
    }

    /** An adapter whose ranks were found trains on with them. */
    @Test
    void ranksThatWereFoundStay() throws Exception {
        AdapterStore.Loaded loaded = read(FINAL);
        try (Adapter adapter = loaded.adapter();
                AdamW optimizer = optimizer(adapter)) {
            assertThat(hook(adapter).begin(STEPS)).singleElement().asString().contains("6 in 6 layers: they stay");
            for (int number = 1; number <= 3; number++) {
                step(adapter, optimizer, number);
            }
            assertThat(hook(adapter).state()).isEmpty();
            assertThat(adapter.parameters().values())
                    .as("saving asks it of empty tensors, too")
                    .allMatch(parameter -> Ops.isFinite(parameter.value()));
            assertThat(written(loaded).config().get("rank_pattern"))
                    .isEqualTo(AdapterFiles.read(FINAL).config().get("rank_pattern"));
        }
    }

    /** The budget of PEFT's formula, and as many elements of E are left. */
    @Test
    void asManyAreLeftAsTheBudgetSays() throws Exception {
        try (Adapter adapter = read(ROOT.resolve("start")).adapter();
                AdamW optimizer = optimizer(adapter)) {
            hook(adapter).begin(STEPS);
            List<Long> left = new ArrayList<>();
            for (int number = 1; number <= STEPS; number++) {
                step(adapter, optimizer, number);
                long count = 0;
                for (Parameter parameter : adapter.parameters().values()) {
                    if (parameter.group().equals("lora_E")) {
                        for (float value : Tensors.toFloats(parameter.value())) {
                            count += value == 0 ? 0 : 1;
                        }
                    }
                }
                left.add(count);
            }
            // of 24 to 6 with T 12, tinit 2, tfinal 3, at every other step: int(18 (1 - (t - 2) / 7)^3 + 6)
            assertThat(left.get(3)).isEqualTo(12);
            assertThat(left.get(5)).isEqualTo(7);
            assertThat(left.get(7)).isEqualTo(6);
            assertThat(left.subList(8, STEPS)).containsOnly(6L);
        }
    }

    @Test
    void theRunHasToHaveStepsInWhichRanksAreTaken() throws Exception {
        AdaLoraConfig config =
                AdaLoraConfig.defaults().withBudget(RankBudget.defaults().withTimes(5, 7, 1, null));
        try (Adapter adapter = Methods.of(config).attach("it", config, llama.points(), 1)) {
            assertThatThrownBy(() -> hook(adapter).begin(12))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("tinit 5 and tfinal 7 leave no step between them")
                    .hasMessageContaining("the run's 12 steps");
            assertThat(hook(adapter).begin(13)).isEmpty();
        }
        AdaLoraConfig longer =
                AdaLoraConfig.defaults().withBudget(RankBudget.defaults().withTimes(2, 3, 1, 40));
        try (Adapter adapter = Methods.of(longer).attach("it", longer, llama.points(), 1)) {
            assertThat(hook(adapter).begin(12))
                    .singleElement()
                    .asString()
                    .contains("ends before target_r 8 is reached");
            assertThat(hook(adapter).begin(38)).singleElement().asString().contains("ranks are final at step 37");
            assertThat(hook(adapter).begin(40)).isEmpty();
        }
    }

    @Test
    void wrongSettingsAreRefused() {
        refused(
                () -> new RankBudget(8, 8, 0, 0, 1, null),
                "targetR must be at least 1 and below init_r 8, got 8; lora has");
        refused(() -> new RankBudget(0, 8, 0, 0, 1, null), "targetR must be at least 1");
        refused(() -> new RankBudget(1, 1, 0, 0, 1, null), "initR must be at least 2");
        refused(() -> new RankBudget(2, 4, -1, 0, 1, null), "tinit must not be negative");
        refused(() -> new RankBudget(2, 4, 0, -1, 1, null), "tfinal must not be negative");
        refused(() -> new RankBudget(2, 4, 0, 0, 0, null), "deltaT must be at least 1");
        refused(() -> new RankBudget(2, 4, 4, 6, 1, 10), "totalStep must be more than tinit and tfinal together, 10");
        refused(() -> new RankImportance(1, 0.5), "beta1 must be above 0 and below 1, got 1.0");
        refused(() -> new RankImportance(0.5, Double.NaN), "beta2 must be above 0");
        refused(() -> AdaLoraConfig.builder().alpha(0).build(), "alpha must be a positive number");
        refused(() -> AdaLoraConfig.builder().orthRegWeight(-1).build(), "orthRegWeight must be 0 or a positive");
        refused(() -> AdaLoraConfig.builder().dropout(1).build(), "dropout must be in [0, 1)");
        AdaLoraConfig given = AdaLoraConfig.defaults()
                .withRankPattern(
                        Map.of("model.layers.0.self_attn.q_proj.lora_E", java.util.Collections.nCopies(12, true)));
        refused(
                () -> Methods.of(given).attach("it", given, llama.points(), 1),
                "rank_pattern must be left out: it says which ranks a run has found");
    }

    private static void refused(org.assertj.core.api.ThrowableAssert.ThrowingCallable call, String message) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageContaining(message);
    }

    /** Layers that have no rank left add nothing, and have no part in what is made of the adapter. */
    @Test
    void itBecomesPlainLora() throws Exception {
        Convert.Result result = Convert.toLora(Fixtures.TINY_LLAMA, FINAL, dir.resolve("lora"), 0, false);
        assertThat(result.error()).isLessThan(1e-5);
        assertThat(result.r()).isEqualTo(4);
        try (Adapter adapter = read(dir.resolve("lora")).adapter()) {
            assertThat(maxDifference(logits(adapter), EXPECTED.get("logits").toFloats()))
                    .isLessThan(1e-4);
        }
        assertThatThrownBy(() -> Combine.adapters().add(FINAL, 1).add(FINAL, 2).write(dir.resolve("both"), false))
                .hasMessageContaining("only LoRA adapters can be combined, this is ADALORA; convert it first");
        assertThat(dir.resolve("both")).doesNotExist();
    }

    /** Settings of files that are wrong, or ask for what we do not do; delimiter ; as JSON has commas. */
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            quoteCharacter = '`',
            value = {
                "{\"total_step\": null}; total_step must be a number of steps",
                "{\"total_step\": 5}; total_step",
                "{\"target_r\": 4}; target_r",
                "{\"init_r\": 5}; rank_pattern must have init_r 5 elements",
                "{\"lora_alpha\": 0}; alpha must be a positive",
                "{\"beta1\": 1}; beta1",
                "{\"deltaT\": 0}; deltaT",
                "{\"rank_pattern\": [1]}; rank_pattern must be an object",
                "{\"rank_pattern\": {\"model.layers.0.mlp.down_proj\": [true, true, true, true]}}; rank_pattern must have a list",
                "{\"rank_pattern\": {\"model.layers.0.mlp.down_proj.lora_E\": [1, 0, 0, 0]}}; rank_pattern must have a list",
                "{\"rank_pattern\": {\"model.layers.7.mlp.down_proj.lora_E\": [true, true, true, true]}}; rank_pattern must name layers",
                "{\"rank_pattern\": null}; must have shape",
                "{\"use_dora\": true}; use_dora true is not supported",
                "{\"bias\": \"all\"}; bias",
                "{\"trainable_token_indices\": [1]}; trainable_token_indices",
                "{\"layer_replication\": [[0, 1]]}; layer_replication",
                "{\"target_parameters\": [\"weight\"]}; target_parameters",
                "{\"alora_invocation_tokens\": [1]}; alora_invocation_tokens",
                "{\"loftq_config\": {\"loftq_bits\": 4}}; loftq_config",
            })
    void filesThatAskForSomethingElseAreRefused(String settings, String message) {
        assertThatThrownBy(() -> variant(settings))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(message);
    }

    private AdapterStore.Loaded variant(String settings) throws Exception {
        Map<String, Object> change = Json.readObject(Path.of("settings"), settings.getBytes());
        AdapterFile file = AdapterFiles.read(FINAL);
        Map<String, Object> config = new LinkedHashMap<>(file.config());
        config.putAll(change);
        AdapterFiles.write(dir, config, List.copyOf(file.tensors().values()));
        return read(dir);
    }

    /** What PEFT's AdaLoRA does not look at; its older files have the adapter's name in the pattern. */
    @Test
    void whatDoesNotChangeItIsTaken() throws Exception {
        Map<String, Object> older = new TreeMap<>();
        ((Map<?, ?>) AdapterFiles.read(FINAL).config().get("rank_pattern"))
                .forEach((name, left) -> older.put(name + ".default", left));
        AdapterStore.Loaded loaded = variant(
                "{\"r\": 3, \"use_rslora\": true, \"alpha_pattern\": {\"q_proj\": 99}, \"lora_bias\": true, \"init_lora_weights\": \"gaussian\"}");
        try (Adapter adapter = loaded.adapter()) {
            assertThat(loaded.notes()).isEmpty();
            assertThat(maxDifference(logits(adapter), EXPECTED.get("logits").toFloats()))
                    .isLessThan(1e-4);
        }
        AdapterFile file = AdapterFiles.read(FINAL);
        Map<String, Object> config = new LinkedHashMap<>(file.config());
        config.put("rank_pattern", older);
        AdapterFiles.write(dir, config, List.copyOf(file.tensors().values()));
        try (Adapter adapter = read(dir).adapter()) {
            assertThat(maxDifference(logits(adapter), EXPECTED.get("logits").toFloats()))
                    .isLessThan(1e-4);
        }
    }
}
