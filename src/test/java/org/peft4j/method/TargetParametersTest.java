package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.spi.lora.LoraOfUpdate;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.run.RunConfigFile;

/** LoRA on the tensors of experts: PEFT's adapters of build-scripts/fixtures/target_parameters.py. */
class TargetParametersTest {
    private static final Path ROOT = Fixtures.ROOT.resolve("target-parameters");
    private static final Path DECODERS = Fixtures.ROOT.resolve("decoders");
    private static final String A = ".lora_A.weight";
    private static final Map<String, HeadedModel> OPEN = new HashMap<>();

    @TempDir
    Path directory;

    @AfterAll
    static void close() {
        OPEN.values().forEach(HeadedModel::close);
        OPEN.clear();
    }

    /** Files with a tensor an expert, and with all of them in one. */
    private static HeadedModel model(String base) {
        return OPEN.computeIfAbsent(base, name -> {
            try {
                return HeadedModel.open(
                        ModelDirectory.open(DECODERS.resolve(name)),
                        new ModelOptions(false, false, 0),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        });
    }

    private static HeadedModel of(String name) {
        return model(name.startsWith("mixtral") ? "mixtral" : "qwen3_moe");
    }

    private static HeadedModel fused(String name) {
        return model(name.startsWith("mixtral") ? "mixtral-fused" : "qwen3_moe-fused");
    }

    private static Fixtures.Sentences texts() {
        return Fixtures.sentences(Fixtures.read(DECODERS.resolve("mixtral/expected.safetensors")));
    }

    private static Map<String, TensorData> expected(String name) {
        return Fixtures.read(ROOT.resolve(name).resolve("expected.safetensors"));
    }

    private static AdapterStore.Loaded load(String name, HeadedModel model) throws Exception {
        return AdapterStore.read(ROOT.resolve(name), name, model.points());
    }

    private static float[] logits(HeadedModel model, @Nullable Adapter... adapterOf) {
        Fixtures.Sentences texts = texts();
        List<@Nullable Adapter> each = new ArrayList<>();
        for (int s = 0; s < texts.packing().sequences(); s++) {
            each.add(adapterOf.length == 0 ? null : adapterOf[s % adapterOf.length]);
        }
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(texts.packing(), each)) {
            Tensor h = BlockRunner.plain().forward(model.model(), Tokens.of(texts.tokens()), ReadRows.TEXT, context);
            return Tensors.toFloats(model.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"mixtral", "mixtral-down", "qwen3_moe", "qwen3_moe-up"})
    void logitsEqualPeftsAndMergedItIsTheSame(String name) throws Exception {
        for (HeadedModel model : List.of(of(name), fused(name))) {
            AdapterStore.Loaded loaded = load(name, model);
            try (Adapter adapter = loaded.adapter();
                    PointerScope scope = new PointerScope()) {
                assertThat(loaded.notes()).isEmpty();
                float[] ours = logits(model, adapter);
                assertThat(maxDifference(ours, expected(name).get("logits").toFloats()))
                        .isLessThan(1e-4);
                assertThat(maxDifference(ours, logits(model))).isGreaterThan(1e-2);
                Map<String, Tensor> changed = Methods.of(loaded.config()).merged(adapter, model.points());
                try (HeadedModel merged = model.withTensors(changed)) {
                    assertThat(maxDifference(logits(merged), ours)).isLessThan(1e-4);
                }
                LoraOfUpdate converted = LoraOfUpdate.of(changed, model.points(), 0, List.of());
                try (Adapter plain = converted.adapter()) {
                    assertThat(converted.error()).isLessThan(1e-5);
                    assertThat(maxDifference(logits(model, plain), ours)).isLessThan(1e-4);
                    assertThat(plain.elements()).isEqualTo(adapter.elements());
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"mixtral", "mixtral-down", "qwen3_moe", "qwen3_moe-up"})
    void gradientsAndLossesEqualPefts(String name) throws Exception {
        HeadedModel model = name.endsWith("e") ? of(name) : fused(name);
        try (Adapter adapter = load(name, model).adapter();
                RecomputedBlocks blocks = new RecomputedBlocks()) {
            LanguageTraining.firstStepEqualsPefts(model, adapter, texts(), blocks, byPath(adapter, expected(name)));
            Map<String, float[]> recomputed = gradients(adapter);
            LanguageTraining.clearGradients(adapter);
            LanguageTraining.backward(model, adapter, texts(), BlockRunner.plain(), 0);
            gradients(adapter).forEach((path, values) -> assertThat(values).isEqualTo(recomputed.get(path)));
        }
        try (Adapter adapter = load(name, model).adapter()) {
            LanguageTraining.lossesEqualPefts(model, adapter, texts(), expected(name));
        }
    }

    private static Map<String, float[]> gradients(Adapter adapter) {
        Map<String, float[]> found = new LinkedHashMap<>();
        adapter.parameters().forEach((path, parameter) -> {
            try (PointerScope scope = new PointerScope()) {
                found.put(path, Tensors.toFloats(parameter.value().grad()));
            }
        });
        return found;
    }

    /** Gradients by our paths, which name the tensor in place of PEFT's wrappers. */
    private static Map<String, TensorData> byPath(Adapter adapter, Map<String, TensorData> theirs) {
        Map<String, TensorData> found = new HashMap<>(theirs);
        for (String path : adapter.parameters().keySet()) {
            for (String tensor : List.of("gate_up_proj", "down_proj")) {
                String module = path.substring(0, Math.max(0, path.indexOf("." + tensor)));
                if (module.endsWith(".experts")) {
                    boolean inner = tensor.equals("gate_up_proj")
                            && adapter.parameters().containsKey(module + ".down_proj" + A);
                    String leaf = path.substring(module.length() + 1 + tensor.length());
                    found.put(
                            "gradient." + path,
                            theirs.get("gradient.base_model.model." + module + (inner ? ".base_layer" : "") + leaf));
                }
            }
        }
        return found;
    }

    @ParameterizedTest
    @ValueSource(strings = {"mixtral", "mixtral-down", "qwen3_moe", "qwen3_moe-up"})
    void itIsWrittenBackAsItCame(String name) throws Exception {
        AdapterStore.Loaded loaded = load(name, of(name));
        AdapterFile theirs = AdapterFiles.read(ROOT.resolve(name));
        try (Adapter adapter = loaded.adapter()) {
            AdapterStore.write(
                    directory,
                    adapter,
                    loaded.config(),
                    of(name).points(),
                    String.valueOf(theirs.config().get("base_model_name_or_path")),
                    "CAUSAL_LM");
        }
        AdapterFile ours = AdapterFiles.read(directory);
        assertThat(new TreeMap<>(ours.tensors()))
                .containsOnlyKeys(theirs.tensors().keySet());
        theirs.tensors()
                .forEach((key, data) ->
                        assertThat(ours.tensors().get(key).bytes()).as(key).isEqualTo(data.bytes()));
        theirs.config().forEach((key, value) -> {
            if (!key.equals("peft_version")) {
                assertThat(PeftFilesTest.normal(ours.config().get(key))).as(key).isEqualTo(PeftFilesTest.normal(value));
            }
        });
    }

    /** Rows of several adapters, and of none, in one batch: what each of them gives alone. */
    @Test
    void rowsOfABatchAreAsAlone() throws Exception {
        HeadedModel model = of("mixtral");
        try (Adapter one = load("mixtral", model).adapter();
                Adapter other = load("mixtral-down", model).adapter()) {
            float[] mixed = logits(model, one, null, other);
            List<float[]> alone = List.of(logits(model, one), logits(model), logits(model, other));
            Fixtures.Sentences texts = texts();
            int width = mixed.length / texts.tokens().length;
            for (int s = 0; s < texts.packing().sequences(); s++) {
                int begin = (int) texts.packing().begin(s) * width;
                int end = (int) texts.packing().end(s) * width;
                assertThat(maxDifference(
                                Arrays.copyOfRange(mixed, begin, end),
                                Arrays.copyOfRange(alone.get(s % 3), begin, end)))
                        .as("text " + s)
                        .isLessThan(1e-4);
            }
        }
    }

    private static LoraConfig.Builder lora() {
        return LoraConfig.builder().r(2).targets(Targets.none()).targetParameters("experts.down_proj");
    }

    private static Adapter attach(LoraConfig config, HeadedModel model) {
        return Methods.of(config).attach("a", config, model.points(), 3);
    }

    @Test
    void aFreshOneChangesNothingAndCountsEveryExpert() {
        HeadedModel model = of("mixtral");
        LoraConfig config = lora().targetParameters("gate_up_proj", "down_proj")
                .targets("v_proj")
                .build();
        float[] base = logits(model);
        try (Adapter adapter = attach(config, model)) {
            assertThat(logits(model, adapter)).isEqualTo(base);
            long layers = 2;
            long experts = 4 * 2 * (16 + 24) + 4 * 2 * (12 + 16);
            assertThat(adapter.elements())
                    .isEqualTo(Methods.of(config).parameterCount(config, model.points()))
                    .isEqualTo(layers * experts + adapter.lowRanks().size() * 2L * (16 + v(model)));
        }
    }

    private static long v(HeadedModel model) {
        return model.points().linears().stream()
                .filter(point -> point.path().endsWith("v_proj"))
                .findFirst()
                .orElseThrow()
                .out();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{type: lora, target_parameters: [experts.down_proj]} | targets must be given beside target_parameters",
                "{type: lora, targets: []} | targets must name at least one module",
                "{type: vera, targets: []} | targets must name at least one module",
                "{type: lora, targets: [], target_parameters: [down_proj], dropout: 0.1} | dropout must be 0, got 0.1",
                "{type: lora, targets: [], target_parameters: [down_proj], dora: true} | dora must be false",
                "{type: lora, targets: [], target_parameters: [down_proj], lora_bias: true} | lora_bias must be false",
                "{type: lora, targets: [], target_parameters: [down_proj], init: pissa} | init must be kaiming or gaussian, got pissa",
                "{type: lora, targets: [], target_parameters: ['']} | target_parameters must not contain an empty name",
            })
    void settingsThatDoNotGoTogether(String method, String message) {
        assertThatThrownBy(() -> RunConfigFile.of(
                        Map.of("model", "m", "data", Map.of("train", "t"), "output", "o"),
                        "a test",
                        List.of("method=" + method)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }

    @Test
    void whatTheModelDoesNotHave() {
        HeadedModel model = of("mixtral");
        assertThatThrownBy(() -> attach(
                                lora().targetParameters("experts.donw_proj").build(), model)
                        .close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("target_parameters: no tensor of experts")
                .hasMessageContaining("mlp.experts.down_proj");
        assertThatThrownBy(() -> attach(
                                lora().targets("q_proj")
                                        .targetParameters("q_proj.weight")
                                        .build(),
                                model)
                        .close())
                .hasMessageContaining("which targets name, too");
        assertThatThrownBy(() -> attach(lora().rankPattern(Map.of("up_proj", 3)).build(), model)
                        .close())
                .hasMessageContaining("rank_pattern");
    }

    @Test
    void tensorsOfOtherParametersThanTheConfigsAreRefused() throws Exception {
        AdapterFile file = AdapterFiles.read(ROOT.resolve("mixtral"));
        Map<String, Object> config = new LinkedHashMap<>(file.config());
        config.put("target_parameters", List.of("mlp.experts.down_proj"));
        AdapterFiles.write(directory, config, List.copyOf(file.tensors().values()));
        assertThatThrownBy(() -> AdapterStore.read(directory, "a", of("mixtral").points()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("experts.base_layer.lora_A.weight")
                .hasMessageContaining("target_parameters");
        config.put("target_parameters", List.of("mlp.experts.gate_up_proj", "mlp.experts.down_proj"));
        List<TensorData> fewer = file.tensors().values().stream()
                .filter(data -> !data.name().contains("layers.1.mlp.experts.lora_B"))
                .toList();
        AdapterFiles.write(directory, config, fewer);
        assertThatThrownBy(() -> AdapterStore.read(directory, "a", of("mixtral").points()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("lacks the tensor base_model.model.model.layers.1.mlp.experts.lora_B.weight");
    }

    /** The formula of one expert is that of a linear layer. */
    @Test
    void theWeightOfALinearLayerIsAdaptedAsTheLayerIs() {
        HeadedModel model = of("mixtral");
        LoraConfig byTensor = lora().targetParameters("q_proj.weight").build();
        LoraConfig byLayer = LoraConfig.builder().r(2).targets("q_proj").build();
        try (Adapter one = attach(byTensor, model);
                Adapter other = attach(byLayer, model)) {
            assertThat(one.parameters().keySet()).isEqualTo(other.parameters().keySet());
        }
    }

    @Test
    void patternsAreAboutTensors() {
        HeadedModel model = of("mixtral");
        LoraConfig config = lora().targetParameters("q_proj.weight")
                .rankPattern(Map.of("q_proj.weight", 4))
                .build();
        try (Adapter adapter = attach(config, model)) {
            adapter.parameters()
                    .values()
                    .forEach(parameter ->
                            assertThat(parameter.value().sizes().vec().get()).contains(4L));
        }
        refused(lora().targetParameters("q_proj.weight").rankPattern(Map.of("q_proj", 4)), "rank_pattern");
    }

    @Test
    void settingsOfModulesAreNotAboutTensors() {
        refused(
                lora().targetParameters("q_proj.weight").excludeModules(Targets.names("q_proj")),
                "exclude_modules must be left out where targets are []");
        refused(
                lora().targets("k_proj").targetParameters("q_proj.weight").layersToTransform(List.of(0)),
                "layers_to_transform must be left out with target_parameters");
    }

    private static void refused(LoraConfig.Builder config, String message) {
        assertThatThrownBy(() -> attach(config.build(), of("mixtral")).close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(message);
    }
}
