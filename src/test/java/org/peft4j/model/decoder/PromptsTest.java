package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.data.TextTokenizer;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.PromptStart;
import org.peft4j.method.dept.DeptConfig;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.PromptSource;
import org.peft4j.method.multitask.SourceTasks;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.ptuning.PTuningConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;

/** What stands in front of texts or is added to their words: the fixtures of build-scripts/fixtures/prompts.py. */
class PromptsTest {
    private static final Path ROOT = Fixtures.ROOT.resolve("prompts");
    private static final Fixtures.Sentences TEXTS =
            Fixtures.sentences(Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors")));
    private static final ModelOptions OPTIONS = new ModelOptions(false, false, 0);

    private static final GenerationSettings GREEDY = new GenerationSettings(12, Sampling.GREEDY, List.of(), List.of());

    private HeadedModel model;
    private final List<Adapter> adapters = new ArrayList<>();

    @TempDir
    Path dir;

    @BeforeEach
    void open() throws Exception {
        model = open(Fixtures.TINY_LLAMA);
    }

    @AfterEach
    void close() {
        adapters.forEach(Adapter::close);
        model.close();
    }

    private static HeadedModel open(Path directory) throws Exception {
        return HeadedModel.open(ModelDirectory.open(directory), OPTIONS, HeadKind.LANGUAGE, HeadOptions.of(0));
    }

    private static Map<String, TensorData> expected(String name) {
        return Fixtures.read(ROOT.resolve(name).resolve("expected.safetensors"));
    }

    private AdapterStore.Loaded read(Path directory) throws Exception {
        AdapterFile file = AdapterFiles.read(directory);
        MethodConfig ofTask = new MultitaskPromptConfig(
                3, PromptStart.RANDOM, new MultitaskPromptConfig.Factors(3, 2, 1), PromptSource.NONE, List.of());
        AdapterStore.Loaded loaded = AdapterStore.read(file, "default", model.points(), ofTask);
        adapters.add(loaded.adapter());
        return loaded;
    }

    private <C extends MethodConfig> Adapter attach(C config) {
        Adapter adapter = Methods.of(config).attach("fresh", config, model.points(), 3);
        adapters.add(adapter);
        return adapter;
    }

    /** The adapter as it is trained: what its file holds, and what was behind the rows of the file. */
    private Adapter trained(String name) throws Exception {
        AdapterStore.Loaded loaded = read(ROOT.resolve(name));
        if (!(loaded.config() instanceof PTuningConfig)) {
            return loaded.adapter();
        }
        Adapter fresh = attach(loaded.config());
        for (Parameter parameter : fresh.parameters().values()) {
            parameter.set(expected(name).get("parameter." + parameter.path()).toFloats());
        }
        return fresh;
    }

    private static float[] outputs(HeadedModel model, Fixtures.Sentences texts, Adapter... adapters) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(texts.packing(), adapters)) {
            Tensor h = BlockRunner.plain().forward(model.model(), Tokens.of(texts.tokens()), ReadRows.TEXT, context);
            return Tensors.toFloats(model.head().forward(h, ReadRows.TEXT.packing(context), context));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"text", "lstm", "multitask", "cpt", "dept", "ept"})
    void logitsOfItsFileAreTheirs(String name) throws Exception {
        float[] ours = outputs(model, TEXTS, read(ROOT.resolve(name)).adapter());
        assertThat(maxDifference(ours, expected(name).get("logits").toFloats())).isLessThan(1e-4);
    }

    @ParameterizedTest
    @ValueSource(strings = {"text", "lstm", "multitask", "dept", "ept"})
    void logitsOfWhatIsTrainedAreTheirs(String name) throws Exception {
        float[] ours = outputs(model, TEXTS, trained(name));
        assertThat(maxDifference(ours, expected(name).get("logits").toFloats())).isLessThan(1e-4);
    }

    @ParameterizedTest
    @ValueSource(strings = {"text", "lstm", "multitask", "dept", "ept"})
    void gradientsAreTheirs(String name) throws Exception {
        Adapter adapter = trained(name);
        try (RecomputedBlocks recomputed = new RecomputedBlocks()) {
            for (BlockRunner runner : List.of(BlockRunner.plain(), recomputed)) {
                LanguageTraining.firstStepEqualsPefts(model, adapter, TEXTS, runner, expected(name));
                LanguageTraining.clearGradients(adapter);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"text", "lstm", "multitask", "dept", "ept"})
    void lossesOfFiveStepsAreTheirs(String name) throws Exception {
        LanguageTraining.lossesEqualPefts(model, trained(name), TEXTS, expected(name));
    }

    @ParameterizedTest
    @ValueSource(strings = {"text", "lstm", "multitask", "cpt", "dept", "ept"})
    void greedyTokensThroughTheCacheAreTheirs(String name) throws Exception {
        Adapter adapter = trained(name);
        Generator generator = new Generator(model.model(), (LanguageHead) model.head());
        List<Prompt> prompts = IntStream.range(0, TEXTS.lengths().length)
                .mapToObj(s -> new Prompt(TEXTS.only(s).tokens(), adapter, s))
                .toList();
        int[] theirs = Fixtures.ints(expected(name).get("greedy"));
        var ours = generator.generate(prompts, GREEDY, null, GenerationListener.NONE);
        for (int s = 0; s < ours.size(); s++) {
            assertThat(ours.get(s).ids()).as("text " + s).isEqualTo(Arrays.copyOfRange(theirs, 12 * s, 12 * s + 12));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"text", "lstm", "multitask", "cpt", "dept", "ept"})
    void filesAreWrittenBackAsTheyCame(String name) throws Exception {
        AdapterStore.Loaded loaded = AdapterStore.read(ROOT.resolve(name), "a", model.points());
        adapters.add(loaded.adapter());
        AdapterStore.write(dir, loaded.adapter(), loaded.config(), model.points(), "tiny-llama", "CAUSAL_LM");
        AdapterFile theirs = AdapterFiles.read(ROOT.resolve(name));
        AdapterFile ours = AdapterFiles.read(dir);
        assertThat(ours.tensors().keySet())
                .containsExactlyInAnyOrderElementsOf(theirs.tensors().keySet());
        theirs.tensors()
                .forEach((key, data) ->
                        assertThat(ours.tensors().get(key).bytes()).as(key).isEqualTo(data.bytes()));
        Map<String, Object> theirKeys = new TreeMap<>(theirs.config());
        theirKeys.remove("peft_version");
        Map<String, Object> ourKeys = new TreeMap<>(ours.config());
        for (String late : List.of("auto_mapping", "modules_to_save", "tokenizer_kwargs")) { // younger than DePT's fork
            if (!theirKeys.containsKey(late)) {
                assertThat(ourKeys.remove(late)).isNull();
            }
        }
        ourKeys.replaceAll((key, value) -> normal(value));
        theirKeys.replaceAll((key, value) -> normal(value));
        assertThat(ourKeys).isEqualTo(theirKeys);
    }

    private static Object normal(Object value) {
        return value instanceof Number n
                ? (Object) n.doubleValue()
                : value instanceof List<?> list
                        ? list.stream().map(PromptsTest::normal).toList()
                        : value;
    }

    @Test
    void theRowsThatAnLstmMakesAreExportedAsPeftDoes() throws Exception {
        AdapterStore.Loaded loaded = read(ROOT.resolve("lstm"));
        Adapter made = trained("lstm");
        AdapterStore.write(dir, made, loaded.config(), model.points(), "tiny-llama", "CAUSAL_LM");
        float[] theirs = AdapterFiles.read(ROOT.resolve("lstm"))
                .tensors()
                .get("prompt_embeddings")
                .toFloats();
        assertThat(maxDifference(
                        AdapterFiles.read(dir)
                                .tensors()
                                .get("prompt_embeddings")
                                .toFloats(),
                        theirs))
                .isLessThan(1e-6);
    }

    @Test
    void aPromptBeginsWithTheWordsThatPeftReads() throws Exception {
        PromptConfig config = new PromptConfig(4, PromptStart.text("Is this mail wanted?"), List.of());
        assertThatThrownBy(() -> attach(config)).hasMessageContaining("init_tokens must have the tokens of init_text");
        try (TextTokenizer tokenizer = TextTokenizer.open(ModelDirectory.open(Fixtures.TINY_LLAMA), 3)) {
            PromptConfig told = Methods.of(config)
                    .inTokens(
                            config,
                            text -> Arrays.stream(tokenizer.encodeWhole(text))
                                    .boxed()
                                    .toList());
            float[] ours = Tensors.toFloats(
                    attach(told).parameters().get("prompt_embeddings").value());
            assertThat(ours).isEqualTo(expected("text").get("start").toFloats());
        }
    }

    @Test
    void sampledWordsAreRowsOfTheTable() {
        Adapter adapter = attach(new PromptConfig(6, PromptStart.sampled(), List.of()));
        float[] rows =
                Tensors.toFloats(adapter.parameters().get("prompt_embeddings").value());
        float[] table = Tensors.toFloats(
                model.points().tensors().get("model.embed_tokens.weight").value());
        for (int row = 0; row < 6; row++) {
            float[] own = Arrays.copyOfRange(rows, row * 32, row * 32 + 32);
            assertThat(IntStream.range(0, 200).mapToObj(i -> Arrays.copyOfRange(table, i * 32, i * 32 + 32)))
                    .contains(own);
        }
    }

    static Stream<Path> families() throws Exception {
        try (Stream<Path> directories = Files.list(Fixtures.ROOT.resolve("decoders"))) {
            List<Path> found = new ArrayList<>(
                    directories.filter(Files::isDirectory).sorted().toList());
            found.add(Fixtures.TINY_LLAMA);
            return found.stream();
        }
    }

    /** Rows that begin with words stand for these words: a text behind them is what it is behind the words, in every family. */
    @ParameterizedTest
    @MethodSource("families")
    void wordsInFrontAreTheSameAsRowsThatBeginWithThem(Path directory) throws Exception {
        try (HeadedModel family = open(directory)) {
            PromptStart start = PromptStart.text("said").withTokens(List.of(7, 19));
            PromptConfig config = new PromptConfig(3, start, List.of()); // 7, 19, 7
            DeptConfig dept = new DeptConfig(3, start, 2, 8, 12, List.of()); // whose pair begins with zeros
            int[] text = {11, 5, 23, 8};
            int[] whole = {7, 19, 7, 11, 5, 23, 8};
            float[] theirs = outputs(family, sentences(whole));
            float[] behind = Arrays.copyOfRange(theirs, theirs.length / 7 * 3, theirs.length);
            try (Adapter prompt = Methods.of(config).attach("prompt", config, family.points(), 1);
                    Adapter pair = Methods.of(dept).attach("dept", dept, family.points(), 1)) {
                assertThat(maxDifference(outputs(family, sentences(text), prompt), behind))
                        .isLessThan(1e-4);
                assertThat(maxDifference(outputs(family, sentences(text), pair), behind))
                        .isLessThan(1e-4);
            }
        }
    }

    private static Fixtures.Sentences sentences(int... tokens) {
        return new Fixtures.Sentences(tokens, new int[] {tokens.length});
    }

    @Test
    void atStepZeroThePairsSecondHalfAloneHasAGradient() {
        Adapter adapter = attach(new DeptConfig(2, PromptStart.RANDOM, 2, 8, 20, List.of()));
        LanguageTraining.backward(model, adapter, TEXTS, BlockRunner.plain(), 0);
        Map<String, Float> most = new HashMap<>();
        adapter.parameters().forEach((path, parameter) -> {
            float[] gradient = Tensors.toFloats(parameter.value().grad());
            float largest = 0;
            for (float value : gradient) {
                largest = Math.max(largest, Math.abs(value));
            }
            most.put(path, largest);
        });
        assertThat(most.get("prompt_encoder.lora_embedding_A")).isZero();
        assertThat(most.get("prompt_encoder.lora_embedding_B")).isPositive();
        assertThat(most.get("prompt_embeddings")).isPositive();
    }

    @Test
    void aTextThatIsLongerThanThePairIsRefused() {
        Adapter adapter = attach(new DeptConfig(2, PromptStart.RANDOM, 2, 8, 5, List.of()));
        assertThatThrownBy(() -> ForwardContext.inference(Packing.of(5, 6), adapter))
                .hasMessage("sequence 1 must have at most 5 tokens, so many the adapter 'fresh' has rows for, has 6");
        Generator generator = new Generator(model.model(), (LanguageHead) model.head());
        assertThatThrownBy(() -> generator.generate(
                        List.of(new Prompt(new int[] {1, 2, 3, 4, 5, 6}, adapter, 0)),
                        GREEDY,
                        null,
                        GenerationListener.NONE))
                .hasMessageContaining("has 6 tokens, but the adapter 'fresh' has rows for texts of at most 5");
    }

    @Test
    void aMultitaskPromptMayBeginWithThoseOfOtherTasks() throws Exception {
        Map<String, TensorData> theirs = Fixtures.read(ROOT.resolve("multitask").resolve(AdapterFiles.TENSORS));
        float[] columns = theirs.get("prefix_task_cols").toFloats();
        for (SourceTasks taken : List.of(SourceTasks.AVERAGE, SourceTasks.EXACT, SourceTasks.SHARED)) {
            PromptSource source = new PromptSource(taken, ROOT.resolve("multitask"), 2);
            Adapter adapter = attach(new MultitaskPromptConfig(
                    3, PromptStart.RANDOM, new MultitaskPromptConfig.Factors(1, 2, 0), source, List.of()));
            assertThat(Tensors.toFloats(
                            adapter.parameters().get("prompt_embeddings").value()))
                    .isEqualTo(theirs.get("prompt_embeddings").toFloats());
            float[] own = Tensors.toFloats(
                    adapter.parameters().get("prefix_task_cols").value());
            for (int i = 0; i < 6; i++) {
                float mean = (columns[i] + columns[6 + i] + columns[12 + i]) / 3;
                switch (taken) {
                    case AVERAGE -> assertThat(own[i]).isCloseTo(mean, org.assertj.core.data.Offset.offset(1e-6f));
                    case EXACT -> assertThat(own[i]).isEqualTo(columns[12 + i]);
                    default -> assertThat(own[i]).isBetween(-0.2f, 0.2f).isNotEqualTo(columns[i]);
                }
            }
        }
        assertThatThrownBy(() -> attach(new MultitaskPromptConfig(
                        4,
                        PromptStart.RANDOM,
                        new MultitaskPromptConfig.Factors(1, 2, 0),
                        new PromptSource(SourceTasks.SHARED, ROOT.resolve("multitask"), 0),
                        List.of())))
                .hasMessageContaining("prompt_embeddings")
                .hasMessageContaining("must have shape [4, 32], has [3, 32]");
    }

    @Test
    void theTaskOfAMultitaskPromptIsKept() throws Exception {
        AdapterStore.Loaded loaded = read(ROOT.resolve("multitask"));
        AdapterStore.write(dir, loaded.adapter(), loaded.config(), model.points(), "tiny-llama", "CAUSAL_LM");
        AdapterStore.Loaded again = AdapterStore.read(dir, "again", model.points());
        adapters.add(again.adapter());
        assertThat(outputs(model, TEXTS, again.adapter())).isEqualTo(outputs(model, TEXTS, loaded.adapter()));
        Method<MultitaskPromptConfig> method = Methods.of((MultitaskPromptConfig) again.config());
        MultitaskPromptConfig tooFar = new MultitaskPromptConfig(
                3, PromptStart.RANDOM, new MultitaskPromptConfig.Factors(9, 2, 7), PromptSource.NONE, List.of());
        assertThatThrownBy(() -> method.goingOn((MultitaskPromptConfig) again.config(), tooFar, new ArrayList<>()))
                .hasMessageContaining("task must be 0 to 2")
                .hasMessageContaining("got 7");
        assertThat(Collections.singleton(again.config())).contains(loaded.config());
    }
}
