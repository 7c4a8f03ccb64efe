package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;
import static org.peft4j.method.ModelPart.BLOCKS;
import static org.peft4j.method.ModelPart.EMBEDDINGS;
import static org.peft4j.method.ModelPart.FINAL;
import static org.peft4j.method.ModelPart.HEAD;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.full.FullConfig;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.method.osf.OsfConfig;
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
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.TensorPoint;

/** What of a model itself is trained: as transformers trains it, of tied tensors one, and nothing that was not chosen. */
class SelectiveTest {
    private static final Path GPT2 = Fixtures.ROOT.resolve("decoders/gpt2");
    private static final ModelOptions OPTIONS = new ModelOptions(false, false, 0);

    @TempDir
    Path directory;

    private static HeadedModel open(Path model, HeadKind kind) throws Exception {
        return HeadedModel.open(ModelDirectory.open(model), OPTIONS, kind, HeadOptions.of(2));
    }

    private static HeadedModel language(Path model) throws Exception {
        return open(model, HeadKind.LANGUAGE);
    }

    private static Adapter attach(MethodConfig config, HeadedModel model) {
        return Methods.of(config).attach("it", config, model.points(), 3);
    }

    private static ModelParts parts(String name) {
        return switch (name) {
            case "ends" -> ModelParts.of(EMBEDDINGS, HEAD).withTargets(Targets.names("embed_tokens", "lm_head"));
            case "last-block" -> ModelParts.layers(-1);
            case "tied-ends" -> ModelParts.of(HEAD);
            default -> ModelParts.ALL;
        };
    }

    /** Losses of five steps, and the logits behind them. */
    @ParameterizedTest
    @ValueSource(strings = {"all", "ends", "last-block", "tied", "tied-ends"})
    void itTrainsAsTransformersDoes(String name) throws Exception {
        Map<String, TensorData> expected =
                Fixtures.read(Fixtures.ROOT.resolve("selective").resolve(name + ".safetensors"));
        boolean tied = name.startsWith("tied");
        Fixtures.Sentences texts = Fixtures.sentences(
                tied ? expected : Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
        FullConfig config = FullConfig.of(parts(name));
        try (HeadedModel model = language(tied ? GPT2 : Fixtures.TINY_LLAMA);
                Adapter adapter = attach(config, model);
                Adapter other = attach(config, model)) {
            if (name.equals("all")) {
                LanguageTraining.firstStepEqualsPefts(model, other, texts, BlockRunner.plain(), expected);
            }
            LanguageTraining.lossesEqualPefts(model, adapter, texts, expected);
            assertThat(maxDifference(
                            logits(model, texts, adapter),
                            expected.get("logits").toFloats()))
                    .isLessThan(5e-3);
        }
    }

    private static float[] logits(HeadedModel model, Fixtures.Sentences texts, Adapter... adapters) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(texts.packing(), adapters)) {
            Tensor h = BlockRunner.plain().forward(model.model(), Tokens.of(texts.tokens()), ReadRows.TEXT, context);
            return Tensors.toFloats(model.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    private static Set<String> paths(Adapter adapter) {
        return new TreeSet<>(adapter.parameters().keySet());
    }

    /** The groups, and how many parameters each has. */
    private static Map<String, Long> groups(MethodConfig config, HeadedModel model) {
        try (Adapter adapter = attach(config, model)) {
            assertThat(adapter.elements()).isEqualTo(count(config, model));
            return adapter.parameters().values().stream()
                    .collect(Collectors.groupingBy(Parameter::group, Collectors.counting()));
        }
    }

    private static <C extends MethodConfig> long count(C config, HeadedModel model) {
        return Methods.of(config).parameterCount(config, model.points());
    }

    @Test
    void partsAreThoseOfTheModel() throws Exception {
        try (HeadedModel bert = open(Fixtures.TINY_BERT, HeadKind.SEQUENCE);
                HeadedModel llama = language(Fixtures.TINY_LLAMA);
                HeadedModel gpt2 = language(GPT2)) {
            assertThat(groups(FullConfig.defaults(), bert))
                    .isEqualTo(Map.of("embeddings", 5L, "blocks", 3 * 16L, "final", 2L, "head", 2L));
            assertThat(groups(FullConfig.defaults().withModulesToSave(List.of("classifier")), bert))
                    .isEqualTo(Map.of("embeddings", 5L, "blocks", 3 * 16L, "final", 2L, "modules_to_save", 2L));
            assertThat(groups(FullConfig.of(ModelParts.of(HEAD)), bert)).isEqualTo(Map.of("head", 2L));
            assertThat(groups(FullConfig.defaults(), llama))
                    .isEqualTo(Map.of("embeddings", 1L, "blocks", 2 * 9L, "final", 1L, "head", 1L));
            assertThat(groups(FullConfig.defaults(), gpt2)) // whose head is its table of words
                    .isEqualTo(Map.of("embeddings", 2L, "blocks", 2 * 12L, "final", 2L));
            assertThat(groups(FullConfig.of(ModelParts.of(FINAL)), gpt2)).isEqualTo(Map.of("final", 2L));
        }
    }

    @Test
    void layersTargetsAndExclusionsChooseAmongThem() throws Exception {
        try (HeadedModel llama = language(Fixtures.TINY_LLAMA)) {
            for (Integer last : new Integer[] {1, -1}) {
                try (Adapter adapter = attach(FullConfig.of(ModelParts.layers(last)), llama)) {
                    assertThat(paths(adapter)).hasSize(9).allMatch(path -> path.startsWith("model.layers.1."));
                }
            }
            ModelParts some = new ModelParts(
                    List.of(BLOCKS, HEAD), List.of(0), Targets.names("q_proj", "lm_head", "up_proj"), null);
            try (Adapter adapter = attach(FullConfig.of(some), llama)) {
                assertThat(paths(adapter))
                        .containsExactly(
                                "lm_head.weight",
                                "model.layers.0.mlp.up_proj.weight",
                                "model.layers.0.self_attn.q_proj.weight");
            }
            try (Adapter adapter = attach(FullConfig.of(ModelParts.ALL.withTargets(Targets.allLinear())), llama)) {
                assertThat(paths(adapter))
                        .hasSize(14)
                        .noneMatch(path -> path.contains("norm") || path.contains("head"));
            }
            try (Adapter adapter = attach(
                    FullConfig.of(ModelParts.layers(0).withoutModules(Targets.regex(".*norm|.*mlp.*"))), llama)) {
                assertThat(paths(adapter)).hasSize(4).allMatch(path -> path.contains("self_attn"));
            }
        }
    }

    /** One parameter stands in both places, whichever part is asked for; files have it once, and it is merged into both. */
    @ParameterizedTest
    @ValueSource(strings = {"EMBEDDINGS", "HEAD"})
    void aTiedTableStaysTied(ModelPart part) throws Exception {
        FullConfig config = FullConfig.of(ModelParts.of(part).withTargets(Targets.regex(".*(wte|lm_head)")));
        Fixtures.Sentences texts =
                Fixtures.sentences(Fixtures.read(Fixtures.ROOT.resolve("selective/tied.safetensors")));
        try (HeadedModel gpt2 = language(GPT2);
                Adapter adapter = attach(config, gpt2);
                PointerScope scope = new PointerScope()) {
            assertThat(paths(adapter)).containsExactly("transformer.wte.weight");
            assertThat(adapter.replacements()).containsOnlyKeys("transformer.wte.weight", "lm_head.weight");
            Parameter table = adapter.parameters().values().iterator().next();
            table.value().detach().mul_(new org.bytedeco.pytorch.Scalar(1.5));
            float[] adapted = logits(gpt2, texts, adapter);
            assertThat(maxDifference(adapted, logits(gpt2, texts))).isGreaterThan(0.1);
            try (HeadedModel merged = gpt2.withTensors(Methods.of(config).merged(adapter, gpt2.points()))) {
                assertThat(maxDifference(logits(merged, texts), adapted)).isLessThan(1e-5);
            }
            AdapterStore.write(directory, adapter, config, gpt2.points(), "gpt2", "CAUSAL_LM");
            assertThat(AdapterFiles.read(directory).tensors())
                    .containsOnlyKeys("base_model.model.transformer.wte.weight");
            try (Adapter again =
                    AdapterStore.read(directory, "again", gpt2.points()).adapter()) {
                assertThat(logits(gpt2, texts, again)).isEqualTo(adapted);
            }
        }
    }

    /** As PEFT does it: who names the head alone as a module to save wants another one than the table. */
    @Test
    void aHeadThatIsSavedAsAModuleIsNoMoreTied() throws Exception {
        try (HeadedModel gpt2 = language(GPT2);
                Adapter adapter =
                        attach(FullConfig.of(ModelParts.of(FINAL)).withModulesToSave(List.of("lm_head")), gpt2)) {
            assertThat(adapter.replacements())
                    .containsKey("lm_head.weight")
                    .doesNotContainKey("transformer.wte.weight");
        }
    }

    /** An adapter of the backbone alone leaves a head as it is, and says so. */
    @Test
    void whatTheBackboneAloneDidNotHaveStays() throws Exception {
        try (HeadedModel alone = open(Fixtures.TINY_LLAMA, HeadKind.NONE);
                HeadedModel headed = language(Fixtures.TINY_LLAMA);
                Adapter adapter = attach(FullConfig.defaults(), alone)) {
            AdapterStore.write(directory, adapter, FullConfig.defaults(), alone.points(), "llama", null);
            AdapterStore.Loaded loaded = AdapterStore.read(directory, "it", headed.points());
            try (Adapter again = loaded.adapter()) {
                assertThat(again.parameters()).hasSize(20).doesNotContainKey("lm_head.weight");
                assertThat(loaded.notes())
                        .containsExactly("the adapter has nothing of lm_head: the model's stays as it is");
            }
        }
    }

    private static void refuses(MethodConfig config, HeadedModel model, String... messages) {
        assertThatThrownBy(() -> attach(config, model).close())
                .isInstanceOf(IllegalArgumentException.class)
                .satisfies(e ->
                        Stream.of(messages).forEach(message -> assertThat(e).hasMessageContaining(message)));
        assertThatThrownBy(() -> count(config, model)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void whatIsNotThereIsRefused() throws Exception {
        try (HeadedModel llama = language(Fixtures.TINY_LLAMA);
                HeadedModel alone = open(Fixtures.TINY_LLAMA, HeadKind.NONE)) {
            for (int layer : new int[] {2, -3}) {
                refuses(
                        FullConfig.of(ModelParts.layers(0, layer)),
                        llama,
                        "layers must be from 0 to 1, or from -1, the last one, to -2: the model has 2 blocks; got "
                                + layer);
            }
            refuses(
                    FullConfig.of(ModelParts.ALL.withTargets(Targets.names("q_poj"))),
                    llama,
                    "targets: no module is named q_poj; did you mean 'q_proj'?");
            refuses( // the head is not among the blocks
                    FullConfig.of(ModelParts.of(BLOCKS).withTargets(Targets.names("lm_head"))), llama, "targets: ");
            refuses(
                    FullConfig.of(ModelParts.layers(0).withoutModules(Targets.regex("model\\.layers\\..*"))),
                    llama,
                    "leave none of them");
            refuses(
                    FullConfig.of(ModelParts.ALL.withoutModules(Targets.names("nrom"))),
                    llama,
                    "exclude_modules: no module is named nrom; did you mean 'norm'?");
            refuses(
                    FullConfig.of(ModelParts.of(EMBEDDINGS, HEAD)),
                    alone,
                    "parts: LlamaModel has nothing that is head");
        }
    }

    @Test
    void expertsStayFrozenAndAreNamed() throws Exception {
        try (HeadedModel mixtral = language(Fixtures.ROOT.resolve("decoders/mixtral-fused"))) {
            refuses(FullConfig.defaults(), mixtral, "experts of a mixture stay frozen", "exclude_modules");
            try (Adapter adapter =
                    attach(FullConfig.of(ModelParts.ALL.withoutModules(Targets.regex(".*experts.*"))), mixtral)) {
                assertThat(paths(adapter))
                        .noneMatch(path -> path.contains("experts"))
                        .isNotEmpty();
            }
        }
    }

    /** What could be trained, but not written to a file, is refused before. */
    @Test
    void aTableThatNoFileTakesIsRefused() throws Exception {
        try (HeadedModel llama = language(Fixtures.TINY_LLAMA);
                PointerScope scope = new PointerScope()) {
            Points points = llama.points();
            Map<String, TensorPoint> tensors = new java.util.LinkedHashMap<>(points.tensors());
            String table = "model.embed_tokens.weight";
            Tensor huge = torch.zeros(1).expand(1 << 17, 1 << 12); // 2^29 numbers, none of them in memory
            tensors.put(table, new TensorPoint(table, huge));
            Points wide = new Points(
                    "llama", "LlamaForCausalLM", 32, 2, 4, points.linears(), points.keyValues(), tensors, List.of());
            for (FullConfig config : List.of(FullConfig.defaults(), FullConfig.of(ModelParts.of(EMBEDDINGS)))) {
                assertThatThrownBy(() -> Methods.of(config).attach("it", config, wide, 0))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageContaining(
                                "parts: model.embed_tokens.weight has 536870912 numbers, and files of adapters"
                                        + " take at most 536870911 of a tensor");
            }
        }
    }

    @Test
    void aHalfThatWouldBeEmptyIsRefused() throws Exception {
        try (HeadedModel llama = language(Fixtures.TINY_LLAMA)) {
            UnaryOperator<ModelParts> ofOne = parts -> parts.withTargets(Targets.names("q_proj"));
            refuses(
                    HftConfig.defaults().withChosen(ofOne.apply(ModelParts.layers(0))),
                    llama,
                    "parts: of the attention's modules only model.layers.0.self_attn.q_proj is chosen",
                    "a half of one would be empty");
            refuses(
                    HftConfig.defaults()
                            .withChosen(ModelParts.of(EMBEDDINGS, HEAD)
                                    .withTargets(Targets.names("embed_tokens", "lm_head"))),
                    llama,
                    "no module of the blocks and no norm is among what is chosen");
            attach(HftConfig.defaults().withChosen(ofOne.apply(ModelParts.of(BLOCKS))), llama)
                    .close();
        }
    }

    /** A rank that leaves a layer nothing to train, or takes nothing away, is refused; PEFT trains nothing there, and its files are read. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    32   | q_proj          | effective_rank must leave singular values of model.layers.0.self_attn.q_proj, which has 32
                    16   | q_proj,v_proj   | v_proj, which has 16, on both sides: none would be trained, got 16
                    0.01 | q_proj          | q_proj, which has 32, on both sides: none would stay, got 0.01
                    """)
    void aRankOfOsfHasToLeaveBothSides(double rank, String targets, String message) throws Exception {
        try (HeadedModel llama = language(Fixtures.TINY_LLAMA)) {
            OsfConfig config =
                    OsfConfig.defaults().withEffectiveRank(rank).withLayers(TargetLayers.of(targets.split(",")));
            refuses(config, llama, message);
            OsfConfig misspelt = config.withEffectiveRank(2.0).withRankPattern(Map.of("v_porj", 3.0));
            assertThatThrownBy(() -> attach(misspelt, llama).close())
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("rank_pattern: 'v_porj' is found in none of the adapted modules");
        }
    }

    @Test
    void ranksOfFilesAreTakenAsPeftTakesThem() throws Exception {
        Path pefts = Fixtures.ROOT.resolve("methods/osf/tiny-llama");
        List<TensorData> tensors =
                List.copyOf(AdapterFiles.read(pefts).tensors().values());
        Map<String, Object> config =
                new java.util.LinkedHashMap<>(AdapterFiles.read(pefts).config());
        try (HeadedModel llama = language(Fixtures.TINY_LLAMA)) {
            for (Object rank : new Object[] {20, 20.9, 0.625}) { // 0.625 of 32 is 20, and of 16 10
                config.put("effective_rank", rank);
                AdapterFiles.write(directory, config, tensors);
                if (rank.equals(0.625)) {
                    assertThatThrownBy(() -> AdapterStore.read(directory, "it", llama.points()))
                            .isInstanceOf(MalformedFileException.class)
                            .hasMessageContaining("v_proj.osf_svd_params.U_low must have shape [16, 6]");
                } else {
                    AdapterStore.read(directory, "it", llama.points()).adapter().close();
                }
            }
            config.put("effective_rank", 1.0); // all stays, where 1 would be one singular value
            AdapterFiles.write(directory, config, tensors);
            assertThatThrownBy(() -> AdapterStore.read(directory, "it", llama.points()))
                    .hasMessageContaining("q_proj.osf_svd_params.U_low must have shape [32, 0]");
            for (Object wrong : new Object[] {0, -1, "all"}) {
                config.put("effective_rank", wrong);
                AdapterFiles.write(directory, config, tensors);
                assertThatThrownBy(() -> AdapterStore.read(directory, "it", llama.points()))
                        .isInstanceOf(MalformedFileException.class)
                        .hasMessageContaining("adapter_config.json: effective_rank must be a");
            }
        }
    }
}
