package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.Variants;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.hira.HiraConfig;
import org.peft4j.method.hira.InitHira;
import org.peft4j.method.loha.LoHaConfig;
import org.peft4j.method.lokr.InitLoKr;
import org.peft4j.method.lokr.LoKrConfig;
import org.peft4j.method.randlora.Bases;
import org.peft4j.method.randlora.RandLoraConfig;
import org.peft4j.method.randlora.Sparsity;
import org.peft4j.method.shira.ShiraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.vblora.VbLoraConfig;
import org.peft4j.method.vblora.VectorBank;
import org.peft4j.method.vera.VeraConfig;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.run.RunConfigFile;

/** What is special to one of the methods that add a matrix to a linear layer's weight. */
class AddedUpdatesTest extends WithTinyBert {
    private static final String QUERY = "bert.encoder.layer.0.attention.self.query.";

    @TempDir
    Path dir;

    private <C extends MethodConfig> Adapter fresh(C config) {
        return Methods.of(config).attach("fresh", config, model.points(), 1);
    }

    /** A fixture with its tensors or its config changed. */
    private AdapterStore.Loaded changed(
            String name, Consumer<List<TensorData>> tensors, Consumer<Map<String, Object>> keys) throws Exception {
        Variants.adapter("../methods/" + name + "/tiny-bert", dir, key -> key, tensors, keys);
        return AdapterStore.read(dir, "changed", model.points());
    }

    private static void replace(
            List<TensorData> tensors, String ending, java.util.function.UnaryOperator<TensorData> by) {
        tensors.replaceAll(data -> data.name().endsWith(ending) ? by.apply(data) : data);
    }

    private float[] logitsOfFixture(String name) throws Exception {
        try (Adapter adapter = AdapterStore.read(
                        Fixtures.ROOT.resolve("methods/" + name + "/tiny-bert"), "as it is", model.points())
                .adapter()) {
            return logits(model, adapter);
        }
    }

    // Wrong settings

    private record Wrong(MethodConfig config, String message) {}

    static Stream<Wrong> wrong() {
        return Stream.of(
                new Wrong(
                        ShiraConfig.defaults(), "r must be at most 16 for bert.encoder.layer.0.attention.self.query,"),
                new Wrong(
                        VbLoraConfig.defaults().withBank(VectorBank.of(9, 12, 2)),
                        "vectorLength must divide the 32 inputs and 32 outputs of bert.encoder.layer.0.attention.self.query, got 12"),
                new Wrong(
                        LoHaConfig.defaults().withLayers(TargetLayers.of("qurey")),
                        "targets: no module is named qurey"));
    }

    @ParameterizedTest
    @MethodSource("wrong")
    void whatDoesNotFitTheModelIsRefusedByTheSettingsName(Wrong wrong) {
        assertThatThrownBy(() -> fresh(wrong.config()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(wrong.message());
        assertThatThrownBy(() -> count(wrong.config()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(wrong.message());
    }

    private <C extends MethodConfig> long count(C config) {
        return Methods.of(config).parameterCount(config, model.points());
    }

    @Test
    void settingsThatCannotBeAreRefused() {
        refused("r must be at least 1, got 0", () -> Ranks.of(0, 1));
        refused("alpha must be a positive number", () -> Ranks.of(1, 0));
        refused(
                "rankPattern of 'query' must be at least 1, got -2",
                () -> new Ranks(1, 1, Map.of("query", -2), Map.of()));
        refused(
                "alphaPattern of 'query' must be a positive",
                () -> new Ranks(1, 1, Map.of(), Map.of("query", Double.NaN)));
        refused(
                "decomposeFactor must be -1 or at least 1, got 0",
                () -> new LoKrConfig(
                        Ranks.of(1, 1), false, 0, InitLoKr.LYCORIS, TargetLayers.modelDefault(), List.of()));
        refused("r must be at least 1", () -> HiraConfig.defaults().withR(0));
        refused(
                "dropout must be in [0, 1), got 1.0",
                () -> new HiraConfig(1, 1, InitHira.KAIMING, TargetLayers.modelDefault(), List.of()));
        refused(
                "alpha must be a positive number",
                () -> RandLoraConfig.defaults().withR(1, Double.POSITIVE_INFINITY));
        refused("topk must be from 1 to the 3 vectors of the bank, got 4", () -> VectorBank.of(3, 8, 4));
        refused("initVectorBankBound must be a positive number", () -> new VectorBank(3, 8, 1, 0, 0.1));
    }

    private static void refused(String message, org.assertj.core.api.ThrowableAssert.ThrowingCallable settings) {
        assertThatThrownBy(settings)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    @Test
    void aFilesWrongNumberIsRefusedByItsKey() {
        assertThatThrownBy(() -> changed("loha", tensors -> {}, keys -> keys.put("alpha", -1)))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("adapter_config.json: alpha must be");
        assertThatThrownBy(() -> changed("randlora", tensors -> {}, keys -> keys.put("randlora_alpha", -1)))
                .hasMessageContaining("adapter_config.json: randlora_alpha must be");
        assertThatThrownBy(() -> changed("vblora", tensors -> {}, keys -> keys.put("vector_length", 12)))
                .hasMessageContaining("adapter_config.json: vector_length must divide");
        assertThatThrownBy(() -> changed("shira", tensors -> {}, keys -> keys.put("r", 17)))
                .hasMessageContaining("adapter_config.json: r must be at most 16");
    }

    @Test
    void whatOnlyPeftsTrainingDoesIsPassedOverWithANote() throws Exception {
        for (String key : List.of("rank_dropout", "module_dropout")) {
            AdapterStore.Loaded loaded = changed("lokr", tensors -> {}, keys -> keys.put(key, 0.5));
            try (Adapter adapter = loaded.adapter()) {
                assertThat(loaded.notes()).singleElement().asString().contains("'" + key + "' is passed over");
                assertThat(logits(model, adapter)).isEqualTo(logitsOfFixture("lokr"));
            }
        }
    }

    static Stream<MethodConfig> settings() {
        Ranks ranks = new Ranks(3, 5, Map.of("query", 2), Map.of("value", 1.5));
        TargetLayers layers =
                new TargetLayers(Targets.names("query"), Targets.names("0.query"), List.of(1), List.of("layer"));
        List<String> saved = List.of("pooler");
        return Stream.of(
                new LoHaConfig(ranks, layers, saved),
                new LoKrConfig(ranks, true, 4, InitLoKr.LYCORIS, layers, saved),
                new HiraConfig(3, 0.1, InitHira.GAUSSIAN, layers, saved),
                new RandLoraConfig(
                        3, 2.5, new Bases(Sparsity.VERY_SPARSE, new Projection(5, false)), 0.1, layers, saved),
                new ShiraConfig(3, 1L << 40, layers, saved),
                new ShiraConfig(3, null, layers, saved),
                new VbLoraConfig(3, new VectorBank(7, 8, 3, 0.5, 0.25), 0.1, layers, saved));
    }

    @ParameterizedTest
    @MethodSource("settings")
    void everySettingHasAKeyInRunFiles(MethodConfig config) {
        Map<String, Object> method =
                new LinkedHashMap<>(Map.of("type", Methods.of(config).name()));
        method.putAll(RunConfigFile.methodMap(config));
        assertThat(method.values()).noneMatch(value -> value instanceof Map<?, ?> map && map.containsKey("r"));
        Map<String, ?> run = Map.of("model", "m", "data", Map.of("train", "t.csv"), "method", method, "output", "o");
        assertThat(RunConfigFile.of(run, "test", List.of()).method()).isEqualTo(config);
    }

    // Dropout on the way into a matrix

    @Test
    void anInputOfAMatrixIsDroppedInTrainingAlone() {
        for (double dropout : new double[] {0, 0.5}) {
            HiraConfig config =
                    new HiraConfig(2, dropout, InitHira.KAIMING, TargetLayers.of("query", "output.dense"), List.of());
            try (Adapter adapter = fresh(config)) {
                adapter.parameters()
                        .forEach((path, parameter) ->
                                parameter.set(Tensors.toFloats(Init.normal(3, path, 0.5, parameter.shape()))));
                float[] still = logits(model, adapter);
                assertThat(logits(model, adapter)).isEqualTo(still);
                boolean same = maxDifference(update(adapter, 1), update(adapter, 2)) == 0;
                assertThat(same).as("dropout " + dropout).isEqualTo(dropout == 0);
            }
        }
    }

    /** The logits of a training forward of a model without dropout of its own. */
    private float[] update(Adapter adapter, long seed) {
        try (HeadedModel bare = HeadedModel.open(
                        Fixtures.tinyBert(), new ModelOptions(false, false, 0), HeadKind.SEQUENCE, HeadOptions.of(2));
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(sentences.packing(), seed, adapter)) {
            return Tensors.toFloats(bare.outputs(Tokens.of(sentences.tokens()), context));
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    @ParameterizedTest
    @MethodSource("withVera")
    void anAdapterOutlivesTheScopeThatItWasMadeIn(MethodConfig config) {
        Method<?> method = Methods.of(config);
        Adapter inside;
        try (PointerScope scope = new PointerScope()) {
            inside = attach(method, config, model);
        }
        try (inside;
                Adapter other = attach(method, config, model)) {
            assertThat(logits(model, inside)).isEqualTo(logits(model, other));
        }
    }

    static Stream<MethodConfig> withVera() {
        return Stream.concat(small(), Stream.of(VeraConfig.defaults().withR(3)));
    }

    // Layers that files store as [in, out]

    static Stream<MethodConfig> small() {
        return Stream.of(
                LoHaConfig.defaults().withRanks(Ranks.of(2, 4)),
                LoKrConfig.defaults().withRanks(Ranks.of(2, 4)),
                HiraConfig.defaults().withR(2),
                RandLoraConfig.defaults().withR(5, 1),
                ShiraConfig.defaults().withR(2),
                VbLoraConfig.defaults().withBank(VectorBank.of(6, 8, 2)));
    }

    @ParameterizedTest
    @MethodSource("small")
    void layersOfGpt2AreAdaptedAndMergedAsOthersAre(MethodConfig config) throws Exception {
        Method<?> method = Methods.of(config);
        try (HeadedModel gpt2 = HeadedModel.open(
                        ModelDirectory.open(Fixtures.ROOT.resolve("decoders/gpt2")),
                        new ModelOptions(false, false, 0),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
                Adapter adapter = attach(method, config, gpt2)) {
            adapter.parameters()
                    .forEach((path, parameter) ->
                            parameter.set(Tensors.toFloats(Init.normal(3, path, 0.4, parameter.shape()))));
            float[] adapted = logitsOfText(gpt2, adapter);
            assertThat(maxDifference(adapted, logitsOfText(gpt2))).isGreaterThan(1e-3);
            AdapterStore.write(dir, adapter, config, gpt2.points(), "gpt2", "CAUSAL_LM");
            Object turned = AdapterFiles.read(dir).config().get("fan_in_fan_out");
            assertThat(turned).isEqualTo(method.keys().keys().contains("fan_in_fan_out") ? true : null);
            AdapterStore.Loaded again = AdapterStore.read(dir, "again", gpt2.points());
            try (Adapter same = again.adapter();
                    PointerScope scope = new PointerScope()) {
                assertThat(again.notes()).isEmpty();
                assertThat(logitsOfText(gpt2, same)).isEqualTo(adapted);
                try (HeadedModel merged = gpt2.withTensors(method.merged(same, gpt2.points()))) {
                    assertThat(maxDifference(logitsOfText(merged), adapted)).isLessThan(1e-4);
                }
            }
        }
    }

    private static <C extends MethodConfig> Adapter attach(Method<C> method, MethodConfig config, HeadedModel to) {
        return method.attach("fresh", method.configType().cast(config), to.points(), 1);
    }

    private static float[] logitsOfText(HeadedModel of, Adapter... adapters) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(new int[] {5}), adapters)) {
            Tensor h = BlockRunner.plain()
                    .forward(of.model(), Tokens.of(new int[] {3, 9, 27, 4, 12}), ReadRows.TEXT, context);
            return Tensors.toFloats(of.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    // RandLoRA

    /** Numbers that PEFT drew for r 8 and layers of 32 by 32. */
    @Test
    void randomBasesArePefts() {
        RandLoraConfig config = RandLoraConfig.defaults().withR(8, 160);
        try (Adapter adapter = fresh(config)) {
            float[] a = Tensors.toFloats(
                    adapter.constants().get("base_model.randlora_A").value());
            float[] b = Tensors.toFloats(
                    adapter.constants().get("base_model.randlora_B").value());
            assertThat(Arrays.copyOf(a, 3)).containsExactly(new float[] {-0.0131f, 0.9375f, -1.4375f}, within());
            assertThat(Arrays.copyOf(b, 3)).containsExactly(new float[] {-1.6641f, 0.7578f, -0.8086f}, within());
        }
    }

    private static org.assertj.core.data.Offset<Float> within() {
        return org.assertj.core.data.Offset.offset(5e-5f);
    }

    @Test
    void aFileWithoutCopiesUnderEachLayerIsReadAsWell() throws Exception {
        AdapterStore.Loaded loaded = changed(
                "randlora",
                tensors -> tensors.removeIf(data -> data.name().matches(".*layer.*randlora_[AB]")),
                keys -> {});
        try (Adapter adapter = loaded.adapter()) {
            assertThat(logits(model, adapter)).isEqualTo(logitsOfFixture("randlora"));
        }
    }

    @Test
    void copiesThatDifferAreRefused() {
        assertThatThrownBy(() -> changed(
                        "randlora",
                        tensors -> replace(tensors, QUERY + "randlora_A", data -> {
                            float[] values = data.toFloats();
                            values[0] += 1;
                            return TensorData.ofFloats(data.name(), data.shape(), values);
                        }),
                        keys -> {}))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("must be the same, as all layers share it, but differ");
    }

    @Test
    void whatIsNotSavedIsNotInTheFile() throws Exception {
        RandLoraConfig config = RandLoraConfig.defaults()
                .withR(8, 160)
                .withBases(new Bases(Bases.defaults().sparsity(), new Projection(4, false)))
                .withModulesToSave(List.of("classifier"));
        try (Adapter adapter = fresh(config)) {
            AdapterStore.write(dir, adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
            assertThat(AdapterFiles.read(dir).tensors().keySet()).noneMatch(key -> key.matches(".*randlora_[AB]"));
        }
    }

    // SHiRA

    @Test
    void mergedOnlyTheChosenElementsChange() throws Exception {
        try (Adapter adapter = AdapterStore.read(
                                Fixtures.ROOT.resolve("methods/shira/tiny-bert"), "shira", model.points())
                        .adapter();
                PointerScope scope = new PointerScope()) {
            float[] before = Tensors.toFloats(
                    model.points().tensors().get(QUERY + "weight").value());
            Map<String, Tensor> merged = Methods.ofPeftType("SHIRA").merged(adapter, model.points());
            float[] after = Tensors.toFloats(merged.get(QUERY + "weight"));
            long[] places = Tensors.toLongs(
                    adapter.constants().get(QUERY + "shira_indices").value());
            float[] values = Tensors.toFloats(
                    adapter.parameters().get(QUERY + "shira_weight").value());
            float[] expected = before.clone();
            for (int i = 0; i < values.length; i++) {
                expected[(int) (places[i] * 32 + places[values.length + i])] += values[i];
            }
            assertThat(after).isEqualTo(expected);
            assertThat(values).hasSize(2 * 64);
        }
    }

    @Test
    void placesThatWindowsWroteAsFloatsAreRead() throws Exception {
        AdapterStore.Loaded loaded = changed(
                "shira",
                tensors -> replace(tensors, "shira_indices", data -> {
                    ByteBuffer in = data.bytes();
                    float[] floats = new float[in.remaining() / Integer.BYTES];
                    for (int i = 0; i < floats.length; i++) {
                        floats[i] = in.getInt();
                    }
                    return TensorData.ofFloats(data.name(), data.shape(), floats);
                }),
                keys -> keys.put("mask_type", "of my own"));
        try (Adapter adapter = loaded.adapter()) {
            assertThat(logits(model, adapter)).isEqualTo(logitsOfFixture("shira"));
        }
    }

    @Test
    void placesOutsideOfTheWeightAreRefused() {
        assertThatThrownBy(() -> changed(
                        "shira",
                        tensors -> replace(tensors, QUERY + "shira_indices", data -> {
                            ByteBuffer bytes = ByteBuffer.allocate(data.bytes().remaining())
                                    .order(ByteOrder.LITTLE_ENDIAN);
                            bytes.put(data.bytes()).putInt(4, 32).flip();
                            return new TensorData(data.name(), ElementType.I32, data.shape(), bytes);
                        }),
                        keys -> {}))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(QUERY + "shira_indices must have rows from 0 to 31, has 32 at 1");
    }

    @Test
    void aFileWithoutPlacesIsRefused() {
        assertThatThrownBy(() -> changed(
                        "shira",
                        tensors -> tensors.removeIf(data -> data.name().endsWith("shira_indices")),
                        keys -> {}))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("lacks the tensor base_model.model." + QUERY + "shira_indices");
    }

    // HiRA

    @Test
    void hiraOfATableIsRefusedByName() {
        assertThatThrownBy(() -> changed(
                        "hira",
                        tensors -> tensors.add(TensorData.ofFloats(
                                "base_model.model.bert.embeddings.word_embeddings.hira_embedding_A",
                                List.of(1L),
                                new float[1])),
                        keys -> {}))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("word_embeddings.hira_embedding_A adapts an embedding table");
    }

    // VB-LoRA

    private static Path topk() {
        return Fixtures.ROOT.resolve("vblora-topk");
    }

    @Test
    void aFileWithChosenWeightsAloneIsReadAndSaysWhatItIsNotFor() throws Exception {
        AdapterStore.Loaded loaded = AdapterStore.read(topk(), "topk", model.points());
        try (Adapter adapter = loaded.adapter()) {
            float[] expected = Fixtures.read(topk().resolve("expected.safetensors"))
                    .get("logits")
                    .toFloats();
            assertThat(maxDifference(logits(model, adapter), expected)).isLessThan(1e-5);
            assertThat(loaded.notes()).singleElement().asString().contains("save_only_topk_weights");
            AdapterStore.write(dir, adapter, loaded.config(), model.points(), "tiny-bert", "SEQ_CLS");
            try (Adapter whole = AdapterStore.read(dir, "whole", model.points()).adapter()) {
                assertThat(logits(model, whole)).isEqualTo(logits(model, adapter));
            }
        }
    }

    @Test
    void aWeightThatIsNoneIsRefused() throws Exception {
        Map<String, Object> config =
                new LinkedHashMap<>(AdapterFiles.read(topk()).config());
        List<TensorData> tensors =
                new java.util.ArrayList<>(AdapterFiles.read(topk()).tensors().values());
        replace(tensors, QUERY + "vblora_logits_A_topk_weights", data -> {
            float[] values = data.toFloats();
            values[0] = 1.5f;
            return TensorData.ofFloats(data.name(), data.shape(), values);
        });
        AdapterFiles.write(dir, config, tensors);
        assertThatThrownBy(() -> AdapterStore.read(dir, "wrong", model.points()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("must hold weights from 0 to 1, has 1.5");
        config.put("num_vectors", 4);
        AdapterFiles.write(
                dir, config, List.copyOf(AdapterFiles.read(topk()).tensors().values()));
        assertThatThrownBy(() -> AdapterStore.read(dir, "wrong", model.points()))
                .hasMessageContaining("must have numbers of the 4 vectors, from 0, has");
    }

    @Test
    void onlyLogitsOfChosenVectorsGetGradients() {
        VbLoraConfig config =
                new VbLoraConfig(2, new VectorBank(6, 8, 2, 0.5, 1), 0, TargetLayers.modelDefault(), List.of());
        try (Adapter adapter = fresh(config);
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(sentences.packing(), 1, adapter)) {
            model.outputs(Tokens.of(sentences.tokens()), context).sum().backward();
            context.backward();
            Parameter logits = adapter.parameters().get(QUERY + "vblora_logits_A");
            float[] gradient = Tensors.toFloats(logits.value().grad());
            for (int piece = 0; piece < gradient.length / 6; piece++) {
                int trained = 0;
                for (int i = 0; i < 6; i++) {
                    trained += gradient[piece * 6 + i] != 0 ? 1 : 0;
                }
                assertThat(trained).isEqualTo(2);
            }
        }
    }
}
