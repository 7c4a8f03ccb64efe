package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.xlora.XLoraConfig;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;

/** X-LoRA beside what it mixes, its files, and what it refuses. Numbers of PEFT are compared by PeftMethodsTest. */
class XLoraTest {
    private static final int[][] TEXTS = {{5, 49, 40, 8}, {33, 9}, {21, 4, 38, 60, 12, 50, 7}, {11, 12, 13}, {90, 7}};

    private static HeadedModel llama;
    private static Map<String, Path> experts;

    @TempDir
    Path dir;

    @BeforeAll
    static void open() throws Exception {
        llama = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
        experts = XLoraExperts.of(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE, "q_proj", "down_proj", 0);
    }

    @AfterAll
    static void close() {
        llama.close();
    }

    private static Adapter attach(XLoraConfig config) {
        return Methods.of(config).attach("mixed", config, llama.points(), 5);
    }

    private static XLoraConfig.Builder of(int n) {
        return XLoraConfig.builder().adapters(XLoraExperts.first(experts, n));
    }

    private static float[][] logits(List<@Nullable Adapter> adapterOf, int[]... texts) {
        int[] lengths = Arrays.stream(texts).mapToInt(text -> text.length).toArray();
        int[] tokens = Arrays.stream(texts).flatMapToInt(Arrays::stream).toArray();
        try (PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard();
                ForwardContext context = ForwardContext.inference(Packing.of(lengths), adapterOf)) {
            Tensor h = BlockRunner.plain().forward(llama.model(), Tokens.of(tokens), ReadRows.TEXT, context);
            float[] all = Tensors.toFloats(llama.head().forward(h, ReadRows.TEXT.packing(context), context));
            float[][] each = new float[lengths.length][];
            int width = all.length / tokens.length;
            int begin = 0;
            for (int s = 0; s < lengths.length; s++) {
                each[s] = Arrays.copyOfRange(all, begin * width, (begin + lengths[s]) * width);
                begin += lengths[s];
            }
            return each;
        }
    }

    private static float[] logits(@Nullable Adapter adapter) {
        return logits(Arrays.asList(adapter), TEXTS[2])[0];
    }

    @Test
    void oneExpertIsThatAdapter() throws Exception {
        try (Adapter mixed = attach(of(1).build());
                Adapter twice = attach(of(1).globalScalingWeight(2).build());
                Adapter lora = AdapterStore.read(experts.get("mails"), "lora", llama.points())
                        .adapter()) {
            assertThat(maxDifference(logits(mixed), logits(lora))).isLessThan(1e-5);
            assertThat(maxDifference(logits(twice), logits(lora))).isGreaterThan(1e-2);
        }
    }

    /** Of sequences that are no neighbours, and beside others of the same adapter's kind. */
    @Test
    void rowsOfABatchAreAsAlone() throws Exception {
        try (Adapter one = attach(of(3).layerwiseScalings(true).build());
                Adapter two = attach(of(2).scalingPassValue(0.5).build());
                Adapter lora = AdapterStore.read(experts.get("mails"), "lora", llama.points())
                        .adapter()) {
            List<@Nullable Adapter> adapterOf = Arrays.asList(one, null, one, two, lora);
            float[][] mixed = logits(adapterOf, TEXTS);
            for (int s = 0; s < TEXTS.length; s++) {
                assertThat(maxDifference(mixed[s], logits(Arrays.asList(adapterOf.get(s)), TEXTS[s])[0]))
                        .as("text %s", s)
                        .isLessThan(1e-5);
            }
        }
    }

    /** Behind blocks a part of a call stands by itself, and chosen rows have their own weights. */
    @Test
    void chosenRowsHaveTheirOwnWeights() {
        try (Adapter one = attach(of(3).build());
                PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard()) {
            int[] tokens = Arrays.stream(TEXTS).flatMapToInt(Arrays::stream).toArray();
            int[] lengths = Arrays.stream(TEXTS).mapToInt(text -> text.length).toArray();
            List<@Nullable Adapter> adapterOf = Arrays.asList(null, one, one, one, null);
            float[][] expected = logits(adapterOf, TEXTS);
            for (ReadRows reads : List.of(
                    ReadRows.last(1), ReadRows.last(List.of(4, 1, 3, 2, 2)), ReadRows.token(List.of(1, 0, 3, 2, 1)))) {
                try (ForwardContext context = ForwardContext.inference(Packing.of(lengths), adapterOf)) {
                    Tensor h = BlockRunner.plain().forward(llama.model(), Tokens.of(tokens), reads, context);
                    Packing rows = reads.packing(context);
                    float[] all = Tensors.toFloats(llama.head().forward(h, rows, context));
                    int width = all.length / (int) rows.rows();
                    for (int s = 0; s < TEXTS.length; s++) {
                        float[] own = Arrays.copyOfRange(all, (int) rows.begin(s) * width, (int) rows.end(s) * width);
                        float[] same = Arrays.copyOfRange(
                                expected[s], rows.first(s) * width, (rows.first(s) + rows.length(s)) * width);
                        assertThat(maxDifference(own, same)).as("text %s", s).isLessThan(1e-5);
                    }
                }
            }
        }
    }

    /** A linear layer of a head is computed for a slice of the call. */
    @Test
    void aSliceOfACallHasItsSequencesWeights() throws Exception {
        try (HeadedModel bert = HeadedModel.open(
                        Fixtures.tinyBert(), ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
                PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard()) {
            LoraConfig pooler =
                    LoraConfig.builder().r(2).targets("pooler.dense", "key").build();
            XLoraConfig config = XLoraConfig.builder()
                    .adapters(Map.of("pooler", XLoraExperts.write(dir.resolve("pooler"), pooler, bert.points(), 1)))
                    .enableSoftmax(false)
                    .build();
            Fixtures.Sentences mails = Fixtures.tinySentences();
            try (Adapter mixed = Methods.of(config).attach("pooled", config, bert.points(), 1);
                    ForwardContext context =
                            ForwardContext.inference(mails.packing(), Arrays.asList(null, mixed, mixed, mixed, null))) {
                ReadRows reads = bert.head().reads();
                Tensor h = BlockRunner.plain().forward(bert.model(), Tokens.of(mails.tokens()), reads, context);
                float[] whole = Tensors.toFloats(bert.head().forward(h, reads.packing(context), context));
                try (ForwardContext slice = context.slice(2, 5)) {
                    float[] part = Tensors.toFloats(bert.head().forward(h.narrow(0, 2, 3), Packing.ones(3), slice));
                    assertThat(maxDifference(part, Arrays.copyOfRange(whole, 4, 10)))
                            .isLessThan(1e-6);
                }
            }
        }
    }

    /** ReLU and dropout have numbers, too, in PEFT's names. */
    @Test
    void namesCountWhatStandsBetweenLayers() {
        try (Adapter dropped = attach(of(2).depth(3).size(4).build());
                Adapter plain = attach(of(2).depth(3).size(4).dropout(0).build())) {
            assertThat(dropped.parameters().keySet().stream().filter(path -> path.endsWith("weight")))
                    .containsExactly(
                            "internal_xlora_classifier.layers.0.weight",
                            "internal_xlora_classifier.layers.3.weight",
                            "internal_xlora_classifier.layers.6.weight");
            assertThat(plain.parameters().keySet().stream().filter(path -> path.endsWith("weight")))
                    .containsExactly(
                            "internal_xlora_classifier.layers.0.weight",
                            "internal_xlora_classifier.layers.2.weight",
                            "internal_xlora_classifier.layers.4.weight");
        }
    }

    /** Weights by layers lie in the order of transformers' modules; Phi-3's attention has its output first. */
    @Test
    void layersAreInTheOrderOfTransformersModules() throws Exception {
        try (HeadedModel phi3 = HeadedModel.open(
                ModelDirectory.open(Fixtures.ROOT.resolve("decoders/phi3")),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0))) {
            assertThat(phi3.points().linears().stream()
                            .map(point -> point.path().replaceAll(".*[.]", ""))
                            .limit(4))
                    .containsExactly("o_proj", "qkv_proj", "gate_up_proj", "down_proj");
        }
        assertThat(llama.points().linears().stream()
                        .map(point -> point.path().replaceAll(".*[.]", ""))
                        .limit(7))
                .containsExactly("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj");
    }

    private Path written(XLoraConfig config, Consumer<Adapter> change) throws Exception {
        Path to = dir.resolve("written");
        try (Adapter adapter = attach(config)) {
            change.accept(adapter);
            AdapterStore.write(to, adapter, config, llama.points(), "tiny-llama", "CAUSAL_LM");
        }
        return to;
    }

    @Test
    void aMovedAdapterIsWhole() throws Exception {
        XLoraConfig config = of(3).topK(2).build();
        float[][] before = new float[1][];
        Path there = written(config, adapter -> before[0] = logits(adapter));
        Path moved = Files.move(there, dir.resolve("moved"));
        AdapterStore.Loaded loaded = AdapterStore.read(moved, "moved", llama.points());
        try (Adapter adapter = loaded.adapter()) {
            assertThat(logits(adapter)).isEqualTo(before[0]);
            assertThat(loaded.notes()).isEmpty();
            assertThat(((XLoraConfig) loaded.config()).adapters().values())
                    .containsExactly(moved.resolve("0"), moved.resolve("1"), moved.resolve("2"));
        }
        for (int i = 0; i < 3; i++) { // the experts are adapters by themselves
            AdapterFile expert = AdapterFiles.read(moved.resolve(String.valueOf(i)));
            AdapterFile first = AdapterFiles.read(new ArrayList<>(experts.values()).get(i));
            assertThat(expert.tensors().keySet()).isEqualTo(first.tensors().keySet());
            first.tensors()
                    .forEach((name, data) -> assertThat(
                                    expert.tensors().get(name).bytes())
                            .as(name)
                            .isEqualTo(data.bytes()));
        }
    }

    @Test
    void trainedExpertsAreSaved() throws Exception {
        float[][] before = new float[1][];
        Path there = written(of(2).useTrainableAdapters(true).build(), adapter -> {
            adapter.parameters().values().forEach(parameter -> {
                float[] values = Tensors.toFloats(parameter.value());
                values[0] += 0.5f;
                parameter.set(values);
            });
            before[0] = logits(adapter);
        });
        try (Adapter again = AdapterStore.read(there, "again", llama.points()).adapter()) {
            assertThat(logits(again)).isEqualTo(before[0]);
        }
        assertThat(AdapterFiles.read(there).tensors()).hasSize(2); // the classifier's alone
    }

    /** PEFT goes by the places that the config names, and leaves no adapters in the folders. */
    @Test
    void expertsMayBeWhereTheConfigSays() throws Exception {
        float[][] before = new float[1][];
        Path there = written(of(2).build(), adapter -> before[0] = logits(adapter));
        Map<String, String> places = new LinkedHashMap<>();
        places.put("0", String.valueOf(experts.get("mails").toAbsolutePath()));
        places.put("1", String.valueOf(experts.get("reviews").toAbsolutePath()));
        change(there, config -> config.put("adapters", places));
        Files.delete(there.resolve("0/adapter_config.json")); // of no interest now
        try (Adapter again = AdapterStore.read(there, "again", llama.points()).adapter()) {
            assertThat(logits(again)).isEqualTo(before[0]);
        }
    }

    private static void change(Path directory, Consumer<Map<String, Object>> change) throws Exception {
        AdapterFile file = AdapterFiles.read(directory);
        Map<String, Object> config = new LinkedHashMap<>(file.config());
        change.accept(config);
        AdapterFiles.write(directory, config, file.tensors().values());
    }

    private void isRefused(Path there, String... messages) {
        assertThatThrownBy(() -> AdapterStore.read(there, "wrong", llama.points()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll(messages);
    }

    @Test
    void filesThatAreNotWholeAreRefused() throws Exception {
        Path there = written(of(2).build(), adapter -> {});
        AdapterFile whole = AdapterFiles.read(there);
        change(there, config -> config.put("hidden_size", 4096));
        isRefused(there, "hidden_size must be 32, the width of this model, got 4096");
        change(there, config -> config.put("hidden_size", 32));

        change(there, config -> config.put("adapters", Map.of("sql", "0", "math", "1")));
        isRefused(there, "adapters must name the experts \"0\", \"1\"");
        change(there, config -> config.put("adapters", Map.of("0", "0", "1", "1")));

        change(there, config -> config.put("top_k_lora", 3));
        isRefused(there, "top_k_lora must be at most 2, the number of adapters, got 3");
        AdapterFiles.write(there, whole.config(), List.of()); // as PEFT saves it
        isRefused(
                there,
                "the classifier lacks base_model.internal_xlora_classifier.layers.0.weight, ",
                "save_pretrained leaves out");
        AdapterFiles.write(there, whole.config(), whole.tensors().values());

        AdapterFile expert = AdapterFiles.read(there.resolve("1"));
        List<TensorData> renamed = expert.tensors().values().stream()
                .map(data -> new TensorData(
                        data.name().replace("base_model.model.", "base_model.lora_model.model."),
                        data.dtype(),
                        data.shape(),
                        data.bytes()))
                .toList();
        AdapterFiles.write(there.resolve("1"), expert.config(), renamed);
        isRefused(there, "adapters: '1'", "parts of the whole model");
        org.peft4j.io.AtomicDirectories.delete(there.resolve("1"));
        isRefused(there, "number 1 is missing", "no folder 1 here");
    }

    private void expertIsRefused(Path expert, String... messages) {
        Map<String, Path> both = new LinkedHashMap<>(XLoraExperts.first(experts, 1));
        both.put("bad", expert);
        XLoraConfig config = XLoraConfig.builder().adapters(both).build();
        assertThatThrownBy(() -> attach(config).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("adapters: 'bad'")
                .hasMessageContainingAll(messages);
    }

    private Path expert(MethodConfig config) throws Exception {
        return XLoraExperts.write(dir.resolve("expert" + System.nanoTime()), config, llama.points(), 3);
    }

    @Test
    void whatIsNoPlainLoraIsRefused() throws Exception {
        expertIsRefused(dir.resolve("nothing"), "nothing");
        expertIsRefused(expert(Methods.of(Ia3Config.defaults()).defaults()), "must be a LoRA adapter, is IA3");
        expertIsRefused(
                expert(LoraConfig.builder().dora(true).targets("q_proj").build()),
                "plain LoRA",
                "lora_magnitude_vector");
        expertIsRefused(expert(LoraConfig.builder().targets("embed_tokens").build()), "plain LoRA", "lora_embedding_A");
        expertIsRefused(
                expert(LoraConfig.builder()
                        .targets("q_proj")
                        .trainableTokens(List.of(4))
                        .build()),
                "plain LoRA",
                "token_adapter");
        expertIsRefused(
                expert(LoraConfig.builder()
                        .targets("q_proj")
                        .modulesToSave(List.of("lm_head"))
                        .build()),
                "plain LoRA",
                "lm_head.weight");
        expertIsRefused(expert(LoraConfig.builder().targets("lm_head").build()), "the backbone alone", "head lm_head");
        expertIsRefused(
                expert(LoraConfig.builder()
                        .targets("q_proj")
                        .aloraInvocationTokens(List.of(7))
                        .build()),
                "plain LoRA",
                "alora_invocation_tokens");
        Path replicated = expert(LoraConfig.builder().targets("q_proj").build());
        change(replicated, config -> config.put("layer_replication", List.of(List.of(0, 2), List.of(1, 2))));
        expertIsRefused(replicated, "layer_replication", "layers as they are");
        expertIsRefused(
                XLoraExperts.of(Fixtures.tinyBert().directory(), HeadKind.SEQUENCE, "query", "output.dense", 0)
                        .get("mails"),
                "LlamaForCausalLM does not have");
    }

    @Test
    void tensorsOfExpertsOfAMixtureAreNotMixed() throws Exception {
        try (HeadedModel mixtral = HeadedModel.open(
                ModelDirectory.open(Fixtures.ROOT.resolve("decoders/mixtral")),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0))) {
            LoraConfig config = LoraConfig.builder()
                    .r(2)
                    .targets("q_proj")
                    .targetParameters("mlp.experts.down_proj")
                    .build();
            Path expert = XLoraExperts.write(dir.resolve("mixture"), config, mixtral.points(), 3);
            XLoraConfig mixed =
                    XLoraConfig.builder().adapters(Map.of("a", expert)).build();
            assertThatThrownBy(() -> Methods.of(mixed)
                            .attach("mixed", mixed, mixtral.points(), 1)
                            .close())
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("plain LoRA", "target_parameters");
        }
    }

    private static void isRefused(XLoraConfig config, String message) {
        assertThatThrownBy(() -> attach(config).close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    @Test
    void wrongSettingsAreRefused() {
        isRefused(XLoraConfig.defaults(), "adapters must name at least one LoRA adapter");
        isRefused(of(2).size(5).build(), "size must be left out with depth 1");
        isRefused(of(2).dropout(0.1).build(), "dropout must be left out with depth 1");
        isRefused(
                of(2).enableSoftmax(false).softmaxTemperature(2).build(),
                "softmax_temperature must be left out where enable_softmax is false");
        refuses(() -> of(2).topK(3).build(), "topK must be at most 2");
        refuses(() -> of(2).topK(0).build(), "topK must be at least 1");
        refuses(() -> of(2).topK(1).scalingPassValue(1).build(), "scalingPassValue must be 0 where topK");
        refuses(() -> of(2).depth(0).build(), "depth must be at least 1");
        refuses(() -> of(2).dropout(1).build(), "dropout must be in [0, 1)");
        refuses(() -> of(2).softmaxTemperature(0).build(), "softmaxTemperature must be a positive number");
        refuses(() -> of(2).globalScalingWeight(Double.NaN).build(), "globalScalingWeight must be a number");
    }

    private static void refuses(Runnable made, String message) {
        assertThatThrownBy(made::run)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    @Test
    void nothingElseAppliesToItsRows() throws Exception {
        try (Adapter mixed = attach(of(2).build());
                Adapter lora = AdapterStore.read(experts.get("mails"), "lora", llama.points())
                        .adapter()) {
            assertThatThrownBy(() -> ForwardContext.inference(Packing.of(2), mixed, lora))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("'mixed' and 'lora'", "has its rows for itself");
        }
    }
}
