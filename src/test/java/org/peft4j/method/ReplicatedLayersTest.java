package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.BaseModel;
import org.peft4j.Combine;
import org.peft4j.Convert;
import org.peft4j.Fixtures;
import org.peft4j.LoadedAdapter;
import org.peft4j.Merge;
import org.peft4j.TextGenerator;
import org.peft4j.config.ModelConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.spi.ReplicatedLayers;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.Model;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Models;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Ops;

/** Layers that stand more than once ({@code layer_replication}): what PEFT computes with them, and what is refused. */
class ReplicatedLayersTest {
    private static final Path ROOT = Fixtures.ROOT.resolve("replicated");
    private static final Path LLAMA = ROOT.resolve("tiny-llama");
    private static final Path BERT = ROOT.resolve("tiny-bert");
    private static final LayerReplication OF_LLAMA = LayerReplication.of(0, 2, 1, 2, 0, 1);
    private static final Map<String, TensorData> EXPECTED = Fixtures.read(LLAMA.resolve("expected.safetensors"));
    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
    private static final int NEW = 12;

    private static HeadedModel llama;

    @TempDir
    Path directory;

    @BeforeAll
    static void open() throws Exception {
        llama = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0).withLayers(OF_LLAMA.layers()),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
    }

    @AfterAll
    static void close() {
        llama.close();
    }

    private static Adapter load() throws Exception {
        return AdapterStore.read(LLAMA, "replicated", llama.points()).adapter();
    }

    private static float[] logits(Adapter... adapters) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(TEXTS.packing(), adapters)) {
            Tensor h = BlockRunner.plain().forward(llama.model(), Tokens.of(TEXTS.tokens()), ReadRows.TEXT, context);
            return Tensors.toFloats(llama.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    @Test
    void logitsGradientsAndLossesArePefts() throws Exception {
        assertThat(maxDifference(logits(), EXPECTED.get("base_logits").toFloats()))
                .isLessThan(1e-4);
        try (Adapter adapter = load()) {
            assertThat(maxDifference(logits(adapter), EXPECTED.get("logits").toFloats()))
                    .isLessThan(1e-4);
            LanguageTraining.firstStepEqualsPefts(llama, adapter, TEXTS, BlockRunner.plain(), EXPECTED);
            LanguageTraining.clearGradients(adapter);
            try (RecomputedBlocks blocks = new RecomputedBlocks()) {
                LanguageTraining.firstStepEqualsPefts(llama, adapter, TEXTS, blocks, EXPECTED);
            }
        }
        try (Adapter adapter = load()) {
            LanguageTraining.lossesEqualPefts(llama, adapter, TEXTS, EXPECTED);
        }
    }

    @Test
    void eachLayerHasKeysAndValuesOfItsOwn() throws Exception {
        assertThat(llama.model().info().output().layers()).isEqualTo(4);
        int[] greedy = Fixtures.ints(EXPECTED.get("greedy"));
        try (Adapter adapter = load()) {
            List<Prompt> prompts = IntStream.range(0, 5)
                    .mapToObj(s -> new Prompt(TEXTS.only(s).tokens(), adapter, s))
                    .toList();
            List<Generated> ours = new Generator(llama.model(), (LanguageHead) llama.head())
                    .generate(
                            prompts,
                            new GenerationSettings(NEW, Sampling.GREEDY, List.of(), List.of()),
                            null,
                            GenerationListener.NONE);
            for (int s = 0; s < 5; s++) {
                assertThat(ours.get(s).ids()).isEqualTo(Arrays.copyOfRange(greedy, s * NEW, (s + 1) * NEW));
            }
        }
    }

    @Test
    void logitsOfBertArePefts() throws Exception {
        LayerReplication layers = LayerReplication.of(0, 2, 0, 2);
        Fixtures.Sentences mails = Fixtures.tinySentences();
        try (HeadedModel bert = HeadedModel.open(
                        Fixtures.tinyBert(),
                        new ModelOptions(false, false, 0).withLayers(layers.layers()),
                        HeadKind.SEQUENCE,
                        HeadOptions.of(2));
                Adapter adapter =
                        AdapterStore.read(BERT, "replicated", bert.points()).adapter();
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(mails.packing(), adapter)) {
            assertThat(maxDifference(
                            Tensors.toFloats(bert.outputs(Tokens.of(mails.tokens()), context)),
                            Fixtures.read(BERT.resolve("expected.safetensors"))
                                    .get("logits")
                                    .toFloats()))
                    .isLessThan(1e-4);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "tiny-bert"})
    void filesAreWrittenBackAsTheyCame(String name) throws Exception {
        boolean bert = name.equals("tiny-bert");
        LayerReplication layers = bert ? LayerReplication.of(0, 2, 0, 2) : OF_LLAMA;
        try (HeadedModel model = HeadedModel.open(
                        bert ? Fixtures.tinyBert() : ModelDirectory.open(Fixtures.TINY_LLAMA),
                        new ModelOptions(false, false, 0).withLayers(layers.layers()),
                        bert ? HeadKind.SEQUENCE : HeadKind.LANGUAGE,
                        HeadOptions.of(2));
                Adapter adapter = AdapterStore.read(ROOT.resolve(name), name, model.points())
                        .adapter()) {
            AdapterStore.Loaded loaded = AdapterStore.read(ROOT.resolve(name), name, model.points());
            assertThat(loaded.config().layerReplication()).isEqualTo(layers);
            AdapterStore.write(directory, loaded.adapter(), loaded.config(), model.points(), name, "CAUSAL_LM");
            loaded.adapter().close();
            AdapterFile ours = AdapterFiles.read(directory);
            AdapterFile theirs = AdapterFiles.read(ROOT.resolve(name));
            assertThat(ours.config().get("layer_replication")).isEqualTo(layers.ranges());
            for (String key : List.of("rank_pattern", "layers_to_transform", "r", "lora_alpha")) {
                assertThat(PeftFilesTest.normal(ours.config().get(key)))
                        .as(key)
                        .isEqualTo(PeftFilesTest.normal(theirs.config().get(key)));
            }
            assertThat(new TreeMap<>(ours.tensors()).keySet()).isEqualTo(new TreeMap<>(theirs.tensors()).keySet());
            theirs.tensors()
                    .forEach((key, data) ->
                            assertThat(ours.tensors().get(key).bytes()).as(key).isEqualTo(data.bytes()));
        }
    }

    /** A fresh adapter changes nothing, has A and B for each new layer, and layers of one number share every tensor. */
    @Test
    void layersOfOneNumberShareTheirWeights() {
        LoraConfig config = LoraConfig.builder()
                .r(3)
                .targets("v_proj", "down_proj")
                .layerReplication(OF_LLAMA)
                .build();
        try (Adapter adapter = Methods.of(config).attach("fresh", config, llama.points(), 1)) {
            assertThat(maxDifference(logits(adapter), logits())).isZero();
            assertThat(adapter.parameters()).hasSize(4 * 2 * 2);
            assertThat(adapter.elements()).isEqualTo(Methods.of(config).parameterCount(config, llama.points()));
        }
        llama.points().tensors().forEach((path, point) -> {
            if (path.startsWith("model.layers.2.")) {
                String source = path.replace("layers.2.", "layers.1.");
                assertThat(point.value())
                        .isSameAs(llama.points().tensors().get(source).value());
            }
        });
    }

    @Test
    void copiesTakeNoMemory() throws Exception {
        long two = bytes(List.of());
        assertThat(bytes(List.of(0, 1, 0, 1, 1, 0, 1, 0, 0, 1)) - two).isLessThan(two / 20);
    }

    /** What a model takes behind its first call, frozen weights in the form of their products included. */
    private static long bytes(List<Integer> layers) throws Exception {
        long before = Ops.liveBytes();
        ModelOptions options = new ModelOptions(false, false, 0).withLayers(layers);
        try (Model model = Models.family("llama").open(ModelDirectory.open(Fixtures.TINY_LLAMA), options)) {
            hidden(model);
            return Ops.liveBytes() - before;
        }
    }

    @ParameterizedTest
    @CsvSource({
        "qwen3, a list of its config",
        "qwen2, a list of its config",
        "gemma2, a list of its config",
        "gemma3, a list of its config",
        "smollm3, a list of its config",
        "gpt2, does not find its layers",
        "gpt_neox, does not find its layers",
    })
    void whatPeftCannotReplicateIsRefusedByName(String family, String reason) throws Exception {
        ModelDirectory of =
                ModelDirectory.open(Fixtures.ROOT.resolve("decoders").resolve(family));
        ModelOptions options = new ModelOptions(false, false, 0).withLayers(List.of(0, 1, 1));
        assertThatThrownBy(() -> Models.family(of).open(of, options).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("model of type " + of.modelType() + ": ")
                .hasMessageContaining(reason);
    }

    /** With the layers as they are, told one by one, a model is what it is; so is one of them twice, beside its copies. */
    @ParameterizedTest
    @ValueSource(strings = {"llama", "mistral", "gemma", "phi3", "olmo2", "granite", "mixtral", "qwen3_moe"})
    void theOthersMayStandInAnyOrder(String family) throws Exception {
        Path path = family.equals("llama")
                ? Fixtures.TINY_LLAMA
                : Fixtures.ROOT.resolve("decoders").resolve(family);
        ModelDirectory of = ModelDirectory.open(path);
        ModelOptions options = new ModelOptions(false, false, 0);
        try (Model plain = Models.family(of).open(of, options);
                Model told = Models.family(of).open(of, options.withLayers(List.of(0, 1)));
                Model longer = Models.family(of).open(of, options.withLayers(List.of(0, 1, 1, 0)));
                Model shorter = Models.family(of).open(of, options.withLayers(List.of(1)))) {
            assertThat(hidden(told)).isEqualTo(hidden(plain));
            assertThat(hidden(longer)).isNotEqualTo(hidden(plain));
            assertThat(hidden(shorter)).isNotEqualTo(hidden(plain));
        }
    }

    private static float[] hidden(Model model) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(5))) {
            return Tensors.toFloats(
                    BlockRunner.plain().forward(model, Tokens.of(5, 9, 40, 8, 33), ReadRows.ALL, context));
        }
    }

    @Test
    void rangesThatAreNoneAreRefused() {
        for (int[] wrong : new int[][] {{2, 2}, {3, 1}, {-1, 2}, {0, 1001}}) {
            assertThatThrownBy(() -> LayerReplication.of(wrong))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith("layerReplication must");
        }
        assertThatThrownBy(() -> Models.family("llama")
                        .open(
                                ModelDirectory.open(Fixtures.TINY_LLAMA),
                                ModelOptions.defaults()
                                        .withLayers(LayerReplication.of(0, 3).layers())))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("0 to 1")
                .hasMessageEndingWith("got layer 2");
    }

    @Test
    void anAdapterOnAModelWithOtherLayersIsRefusedWithTheWayOut() throws Exception {
        try (BaseModel plain = BaseModel.open(Fixtures.TINY_LLAMA);
                BaseModel right = BaseModel.open(ModelConfig.of(Fixtures.TINY_LLAMA), LLAMA)) {
            assertThatThrownBy(() -> plain.load("it", LLAMA))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("layer_replication must be what the model was opened with")
                    .hasMessageContaining("as they are")
                    .hasMessageContaining("ModelConfig.withLayerReplication");
            assertThatThrownBy(() -> right.load("it", Fixtures.TINY_LLAMA.resolve("lora")))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("[0, 1, 1, 0]; the adapter has none");
            assertThat(right.load("it", LLAMA, LoadedAdapter.Options.defaults().withTask("causal-lm"))
                            .notes())
                    .noneMatch(note -> note.contains("layer"));
        }
        try (TextGenerator generator = TextGenerator.open(Fixtures.TINY_LLAMA, LLAMA)) {
            assertThat(generator.generate("you have").length()).isPositive();
        }
        PrefixConfig prefix = PrefixConfig.of(3);
        assertThatThrownBy(() -> ReplicatedLayers.check(prefix, llama.points()))
                .isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void mergingConvertingAndCombiningAreRefused() {
        Path out = directory.resolve("out");
        assertThatThrownBy(() -> Merge.merge(Fixtures.TINY_LLAMA, LLAMA, out, false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("cannot be merged: layers of its model share their weights (layer_replication)");
        assertThatThrownBy(() -> Convert.toLora(Fixtures.TINY_LLAMA, LLAMA, out, 2, false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("layer_replication");
        assertThatThrownBy(() -> Combine.adapters().add(LLAMA, 1).write(out, false))
                .hasMessageContaining("layer_replication cannot be combined");
        assertThat(out).doesNotExist();
        Path alora = Fixtures.ROOT.resolve("alora");
        assertThatThrownBy(() -> Merge.merge(Fixtures.TINY_LLAMA, alora, out, false))
                .hasMessageContaining("cannot be merged: it acts from its invocation on alone");
        assertThatThrownBy(() -> Convert.toLora(Fixtures.TINY_LLAMA, alora, out, 2, false))
                .hasMessageContaining("alora_invocation_tokens");
        assertThatThrownBy(() -> Combine.adapters().add(alora, 1).write(out, false))
                .hasMessageContaining("alora_invocation_tokens cannot be combined");
        assertThat(out).doesNotExist();
    }
}
