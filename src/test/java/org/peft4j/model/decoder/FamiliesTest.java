package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Merge;
import org.peft4j.Variants;
import org.peft4j.error.MalformedFileException;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Models;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.ParameterGroup;

/** The small decoders of build-scripts/fixtures/decoders.py and what transformers and PEFT compute with them. */
class FamiliesTest {
    private static final Path ROOT = Fixtures.ROOT.resolve("decoders");
    private static final ModelOptions OPTIONS = new ModelOptions(false, false, 0);
    private static final int NEW = 12;

    @TempDir
    Path dir;

    static Stream<String> all() throws IOException {
        try (Stream<Path> directories = Files.list(ROOT)) {
            List<String> names = directories
                    .filter(path -> Files.isRegularFile(path.resolve("config.json")))
                    .map(path -> path.getFileName().toString())
                    .sorted()
                    .toList();
            return names.stream();
        }
    }

    private static HeadedModel open(String name, HeadKind kind, int outputs) throws IOException {
        return HeadedModel.open(ModelDirectory.open(ROOT.resolve(name)), OPTIONS, kind, HeadOptions.of(outputs));
    }

    /** The same weights in another form have the same adapter. */
    private static String withLora(String name) {
        return name.replace("-fused", "") + "/lora";
    }

    private static Adapter lora(String name, HeadedModel model) throws IOException {
        return adapter(withLora(name), model);
    }

    private static Adapter adapter(String directory, HeadedModel model) throws IOException {
        AdapterStore.Loaded loaded = AdapterStore.read(ROOT.resolve(directory), "adapter", model.points());
        assertThat(loaded.notes()).isEmpty();
        return loaded.adapter();
    }

    private static Map<String, TensorData> expected(String name) {
        return Fixtures.read(ROOT.resolve(name).resolve("expected.safetensors"));
    }

    private static float[] outputs(HeadedModel model, Fixtures.Sentences texts, @Nullable Adapter adapter) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(
                        texts.packing(), Collections.nCopies(texts.packing().sequences(), adapter))) {
            return Tensors.toFloats(model.outputs(Tokens.of(texts.tokens()), context));
        }
    }

    @Test
    void everyFamilyHasAFixture() throws IOException {
        List<String> types = new ArrayList<>();
        for (String name : all().toList()) {
            types.add(ModelDirectory.open(ROOT.resolve(name)).modelType());
        }
        assertThat(types)
                .containsAll(Models.types().stream()
                        .filter(type -> Models.family(type) instanceof DecoderFamily)
                        .toList());
    }

    @ParameterizedTest
    @MethodSource("all")
    void hiddenStatesAndLogitsEqualTransformers(String name) throws IOException {
        Map<String, TensorData> expected = expected(name);
        Fixtures.Sentences texts = Fixtures.sentences(expected);
        try (HeadedModel model = open(name, HeadKind.NONE, 0)) {
            assertThat(model.model().notes()).isEmpty();
            assertThat(maxDifference(
                            outputs(model, texts, null),
                            expected.get("last_hidden_state").toFloats()))
                    .isLessThan(1e-4);
        }
        try (HeadedModel model = open(name, HeadKind.LANGUAGE, 0)) {
            assertThat(model.points().fresh()).isEmpty();
            assertThat(maxDifference(
                            outputs(model, texts, null), expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void loraEqualsPefts(String name) throws IOException {
        adapterEqualsPefts(name, withLora(name));
    }

    private static void adapterEqualsPefts(String name, String directory) throws IOException {
        Fixtures.Sentences texts = Fixtures.sentences(expected(name));
        Map<String, TensorData> expected = expected(directory);
        try (HeadedModel model = open(name, HeadKind.LANGUAGE, 0);
                Adapter adapter = adapter(directory, model);
                RecomputedBlocks recomputed = new RecomputedBlocks();
                AdamW optimizer = new AdamW(List.of(new ParameterGroup(
                        "all", 1e-2, 0.01, List.copyOf(adapter.parameters().values()))))) {
            assertThat(maxDifference(
                            outputs(model, texts, adapter),
                            expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
            float[] losses = expected.get("losses").toFloats();
            for (int step = 0; step < losses.length; step++) {
                BlockRunner blocks = step == 0 ? recomputed : BlockRunner.plain();
                assertThat(backward(model, adapter, texts, blocks, step)).isCloseTo(losses[step], Offset.offset(1e-4));
                if (step == 0) {
                    gradientsEqual(adapter, expected);
                }
                optimizer.step(1, 0);
            }
        }
    }

    /** {@code Conv1D}'s matrices, which files have as [in, out]: trained, written back and merged. */
    @Test
    void savedModulesOfGpt2EqualPefts() throws IOException {
        String saved = "gpt2/saved";
        adapterEqualsPefts("gpt2", saved);
        try (HeadedModel model = open("gpt2", HeadKind.LANGUAGE, 0)) {
            AdapterStore.Loaded loaded = AdapterStore.read(ROOT.resolve(saved), "adapter", model.points());
            Path back = dir.resolve("back");
            try (Adapter adapter = loaded.adapter()) {
                AdapterStore.write(back, adapter, loaded.config(), model.points(), "gpt2", "CAUSAL_LM");
            }
            Map<String, TensorData> ours = AdapterFiles.read(back).tensors();
            Map<String, TensorData> theirs =
                    AdapterFiles.read(ROOT.resolve(saved)).tensors();
            assertThat(ours.keySet()).isEqualTo(theirs.keySet());
            theirs.forEach((key, data) -> {
                assertThat(ours.get(key).shape()).as(key).isEqualTo(data.shape());
                assertThat(ours.get(key).toFloats()).as(key).isEqualTo(data.toFloats());
            });
        }
        mergedIsTheModelWithTheAdapter("gpt2", saved);
    }

    private static void gradientsEqual(Adapter adapter, Map<String, TensorData> expected) {
        for (Parameter parameter : adapter.parameters().values()) {
            String path = "gradient.base_model.model." + parameter.path();
            assertThat(expected).containsKey(path);
            TensorData data = expected.get(path);
            float[] theirs = data.toFloats();
            Tensor gradient = parameter.value().grad();
            boolean asFilesHaveIt = data.shape().get(0) == gradient.size(0);
            double most = 0;
            for (float value : theirs) {
                most = Math.max(most, Math.abs(value));
            }
            assertThat(maxDifference(
                            Tensors.toFloats(
                                    asFilesHaveIt ? gradient : gradient.t().contiguous()),
                            theirs))
                    .as(path)
                    .isLessThan(1e-3 * most);
        }
    }

    /** The mean of all tokens that have one before them; also makes the gradients. */
    private static double backward(
            HeadedModel model, Adapter adapter, Fixtures.Sentences texts, BlockRunner blocks, long step) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(texts.packing(), step, adapter)) {
            Tensor h = blocks.forward(model.model(), Tokens.of(texts.tokens()), ReadRows.ALL, context);
            Packing packing = texts.packing();
            long[] labels = new long[(int) packing.rows()];
            Arrays.fill(labels, -100);
            for (int s = 0; s < packing.sequences(); s++) {
                for (long row = packing.begin(s) + 1; row < packing.end(s); row++) {
                    labels[(int) row - 1] = texts.tokens()[(int) row];
                }
            }
            long counted = Arrays.stream(labels).filter(label -> label >= 0).count();
            Tensor loss = ((LanguageHead) model.head())
                    .losses(h, Tensors.ofLongs(labels, labels.length), packing, context)
                    .sum()
                    .div(new Scalar((double) counted));
            blocks.backward(loss, context);
            return loss.item_float();
        }
    }

    /** With the cache; plain texts and those of the adapter in one batch. */
    @ParameterizedTest
    @MethodSource("all")
    void greedyContinuationsEqualTransformers(String name) throws IOException {
        Map<String, TensorData> expected = expected(name);
        Fixtures.Sentences texts = Fixtures.sentences(expected);
        int[][] plain = continuations(expected);
        int[][] adapted = continuations(expected(withLora(name)));
        try (HeadedModel model = open(name, HeadKind.LANGUAGE, 0);
                Adapter adapter = lora(name, model)) {
            List<Prompt> prompts = new ArrayList<>();
            for (int s = 0; s < texts.packing().sequences(); s++) {
                prompts.add(new Prompt(texts.only(s).tokens(), null, s));
                prompts.add(new Prompt(texts.only(s).tokens(), adapter, s));
            }
            List<Generated> made = new Generator(model.model(), (LanguageHead) model.head())
                    .generate(
                            prompts,
                            new GenerationSettings(NEW, Sampling.GREEDY, List.of(), List.of()),
                            null,
                            GenerationListener.NONE);
            for (int s = 0; s < plain.length; s++) {
                assertThat(made.get(2 * s).ids()).as("text " + s).isEqualTo(plain[s]);
                assertThat(made.get(2 * s + 1).ids())
                        .as("text " + s + " with the adapter")
                        .isEqualTo(adapted[s]);
            }
        }
    }

    private static int[][] continuations(Map<String, TensorData> expected) {
        int[] all = Fixtures.ints(expected.get("greedy"));
        int[][] each = new int[all.length / NEW][];
        for (int s = 0; s < each.length; s++) {
            each[s] = Arrays.copyOfRange(all, s * NEW, (s + 1) * NEW);
        }
        return each;
    }

    /** Changes of config.json that change what is computed: each has the effect that it has in transformers, or is refused. */
    @ParameterizedTest
    @MethodSource("all")
    @SuppressWarnings("unchecked")
    void whatAConfigAsksForIsObeyedOrRefused(String name) throws IOException {
        Map<String, Object> wrong = Json.readObject(ROOT.resolve("wrong.json"));
        Map<String, TensorData> expected = expected(name);
        Fixtures.Sentences texts = Fixtures.sentences(expected);
        int number = 0;
        for (Map<String, Object> row : (List<Map<String, Object>>) wrong.getOrDefault(name, List.of())) {
            Map<String, Object> change = (Map<String, Object>) row.get("change");
            Path changed = Variants.model(
                    ROOT.resolve(name),
                    Files.createDirectory(dir.resolve("changed" + number++)),
                    tensors -> {},
                    keys -> keys.putAll(change));
            try (HeadedModel model =
                    HeadedModel.open(ModelDirectory.open(changed), OPTIONS, HeadKind.LANGUAGE, HeadOptions.of(0))) {
                double theirs = ((Number) row.get("logits_differ_by")).doubleValue();
                assertThat(maxDifference(
                                outputs(model, texts, null),
                                expected.get("logits").toFloats()))
                        .as(change.toString())
                        .isCloseTo(theirs, Offset.offset(0.05 * theirs)); // the file has two digits
            } catch (MalformedFileException e) {
                assertThat(change.keySet()).anySatisfy(key -> assertThat(e).hasMessageContaining(key));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void theSpellingOfRelease4IsRead(String name) throws IOException {
        Path old = ROOT.resolve(name).resolve("config-release4.json");
        if (Files.exists(old)) {
            Map<String, Object> settings = Json.readObject(old);
            Path with = Variants.model(
                    ROOT.resolve(name), Files.createDirectory(dir.resolve("old")), tensors -> {}, keys -> {
                        keys.clear();
                        keys.putAll(settings);
                    });
            Map<String, TensorData> expected = expected(name);
            try (HeadedModel model =
                    HeadedModel.open(ModelDirectory.open(with), OPTIONS, HeadKind.LANGUAGE, HeadOptions.of(0))) {
                assertThat(model.model().notes()).isEmpty();
                assertThat(maxDifference(
                                outputs(model, Fixtures.sentences(expected), null),
                                expected.get("logits").toFloats()))
                        .isLessThan(1e-4);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void aMergedModelIsTheModelWithTheAdapter(String name) throws IOException {
        mergedIsTheModelWithTheAdapter(name, withLora(name));
    }

    private void mergedIsTheModelWithTheAdapter(String name, String directory) throws IOException {
        Path merged = dir.resolve("merged");
        Merge.merge(ROOT.resolve(name), ROOT.resolve(directory), merged, false);
        Map<String, TensorData> expected = expected(directory);
        try (HeadedModel model =
                HeadedModel.open(ModelDirectory.open(merged), OPTIONS, HeadKind.LANGUAGE, HeadOptions.of(0))) {
            assertThat(maxDifference(
                            outputs(model, Fixtures.sentences(expected(name)), null),
                            expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
        }
    }

    /** Reading config-keys.json: a key of a newer transformers has to get a row. */
    @ParameterizedTest
    @MethodSource("all")
    void everyKeyOfTransformersHasARow(String name) throws IOException {
        Map<String, Object> keys = Json.readObject(Path.of("src/test/resources/method/config-keys.json"));
        ModelDirectory directory = ModelDirectory.open(ROOT.resolve(name));
        DecoderFamily family = (DecoderFamily) Models.family(directory.modelType());
        assertThat(family.keys().keys()).containsAll(((Map<String, ?>) keys.get(family.modelType())).keySet());
    }

    @ParameterizedTest
    @ValueSource(strings = {"mistral", "qwen3", "gemma2", "phi3", "gpt_neox", "gpt2"})
    void headsForClassificationAreTransformers(String name) throws IOException {
        Map<String, TensorData> heads = Fixtures.read(ROOT.resolve(name).resolve("heads.safetensors"));
        Fixtures.Sentences texts = Fixtures.sentences(expected(name));
        for (HeadKind kind : List.of(HeadKind.SEQUENCE, HeadKind.TOKENS)) {
            String prefix = kind == HeadKind.SEQUENCE ? "sequence" : "token";
            Path with = Variants.model(
                    ROOT.resolve(name),
                    Files.createDirectory(dir.resolve(prefix)),
                    tensors -> heads.forEach((key, data) -> {
                        if (key.startsWith(prefix + ".") && !key.endsWith(".logits")) {
                            tensors.add(TensorData.ofFloats(
                                    key.substring(prefix.length() + 1), data.shape(), data.toFloats()));
                        }
                    }),
                    keys -> {});
            try (HeadedModel model = HeadedModel.open(ModelDirectory.open(with), OPTIONS, kind, HeadOptions.of(3))) {
                assertThat(model.points().fresh()).isEmpty();
                assertThat(maxDifference(
                                outputs(model, texts, null),
                                heads.get(prefix + ".logits").toFloats()))
                        .isLessThan(1e-4);
            }
        }
    }
}
