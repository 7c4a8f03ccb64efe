package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;
import static org.peft4j.model.decoder.DecoderFixtures.OPTIONS;
import static org.peft4j.model.decoder.DecoderFixtures.ROOT;
import static org.peft4j.model.decoder.DecoderFixtures.adapter;
import static org.peft4j.model.decoder.DecoderFixtures.expected;
import static org.peft4j.model.decoder.DecoderFixtures.open;
import static org.peft4j.model.decoder.DecoderFixtures.outputs;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.assertj.core.data.Offset;
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
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.Models;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.nn.seam.Adapter;

/** The small decoders and what transformers and PEFT compute with them. */
class FamiliesTest {
    private static final int NEW = 12;

    @TempDir
    Path dir;

    /** The same weights in another form have the same adapter. */
    private static String withLora(String name) {
        return name.replace("-fused", "") + "/lora";
    }

    private static Adapter lora(String name, HeadedModel model) throws IOException {
        return adapter(withLora(name), model);
    }

    @Test
    void everyFamilyHasAFixture() throws IOException {
        List<String> types = new ArrayList<>();
        for (String name : DecoderFixtures.all().toList()) {
            types.add(ModelDirectory.open(ROOT.resolve(name)).modelType());
        }
        assertThat(types)
                .containsAll(Models.types().stream()
                        .filter(type -> Models.family(type) instanceof DecoderFamily)
                        .toList());
    }

    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
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
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
    void loraEqualsPefts(String name) throws IOException {
        adapterEqualsPefts(name, withLora(name));
    }

    private static void adapterEqualsPefts(String name, String directory) throws IOException {
        Fixtures.Sentences texts = Fixtures.sentences(expected(name));
        Map<String, TensorData> expected = expected(directory);
        try (HeadedModel model = open(name, HeadKind.LANGUAGE, 0);
                Adapter adapter = adapter(directory, model);
                RecomputedBlocks recomputed = new RecomputedBlocks()) {
            assertThat(maxDifference(
                            outputs(model, texts, adapter),
                            expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
            LanguageTraining.firstStepEqualsPefts(model, adapter, texts, recomputed, expected);
            LanguageTraining.clearGradients(adapter);
            LanguageTraining.lossesEqualPefts(model, adapter, texts, expected);
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

    /** With the cache; plain texts and those of the adapter in one batch. */
    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
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
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
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
            try (HeadedModel model = open(changed, HeadKind.LANGUAGE, 0, OPTIONS)) {
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
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
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
            try (HeadedModel model = open(with, HeadKind.LANGUAGE, 0, OPTIONS)) {
                assertThat(model.model().notes()).isEmpty();
                assertThat(maxDifference(
                                outputs(model, Fixtures.sentences(expected), null),
                                expected.get("logits").toFloats()))
                        .isLessThan(1e-4);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
    void aMergedModelIsTheModelWithTheAdapter(String name) throws IOException {
        mergedIsTheModelWithTheAdapter(name, withLora(name));
    }

    private void mergedIsTheModelWithTheAdapter(String name, String directory) throws IOException {
        Path merged = dir.resolve("merged");
        Merge.merge(ROOT.resolve(name), ROOT.resolve(directory), merged, false);
        Map<String, TensorData> expected = expected(directory);
        try (HeadedModel model = open(merged, HeadKind.LANGUAGE, 0, OPTIONS)) {
            assertThat(maxDifference(
                            outputs(model, Fixtures.sentences(expected(name)), null),
                            expected.get("logits").toFloats()))
                    .isLessThan(1e-4);
        }
    }

    /** Reading config-keys.json: a key of a newer transformers has to get a row. */
    @ParameterizedTest
    @MethodSource("org.peft4j.model.decoder.DecoderFixtures#all")
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
            try (HeadedModel model = open(with, kind, 3, OPTIONS)) {
                assertThat(model.points().fresh()).isEmpty();
                assertThat(maxDifference(
                                outputs(model, texts, null),
                                heads.get(prefix + ".logits").toFloats()))
                        .isLessThan(1e-4);
            }
        }
    }
}
