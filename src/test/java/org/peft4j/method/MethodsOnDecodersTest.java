package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.params.provider.Arguments.arguments;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.generate.Generated;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.adaption.AdaptionPromptConfig;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.method.c3a.BlockSizes;
import org.peft4j.method.c3a.C3aConfig;
import org.peft4j.method.fourierft.FourierFtConfig;
import org.peft4j.method.fourierft.Frequencies;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.list.ListConfig;
import org.peft4j.method.lntuning.LnTuningConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.xlora.XLoraConfig;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;

/** Every method on language models of three families: merging, files, the cache, rows of one batch. */
class MethodsOnDecodersTest {
    private static final Map<String, Path> MODELS = Map.of(
            "llama", Fixtures.TINY_LLAMA,
            "qwen3", Fixtures.ROOT.resolve("decoders/qwen3"),
            "gpt2", Fixtures.ROOT.resolve("decoders/gpt2"));

    /** Layers of sizes that all methods can divide. */
    private static final Map<String, List<String>> LAYERS = Map.of(
            "llama", List.of("q_proj", "down_proj"),
            "qwen3", List.of("q_proj", "o_proj"),
            "gpt2", List.of("c_attn", "c_fc"));

    /** What cannot be: a model without biases, a table that the head reads too, an attention that PEFT's method does not know. */
    private static final Set<String> REFUSED =
            Set.of("llama BitFit", "qwen3 BitFit", "gpt2 trainable tokens", "qwen3 LLaMA-Adapter");

    private static final int[][] TEXTS = {{5, 49, 40, 8}, {33, 9}, {21, 4, 38, 60, 12, 50, 7}};
    private static final int NEW = 8;

    private static final Map<String, HeadedModel> OPEN = new LinkedHashMap<>();

    @TempDir
    Path directory;

    @BeforeAll
    static void open() throws Exception {
        for (Map.Entry<String, Path> model : MODELS.entrySet()) {
            OPEN.put(
                    model.getKey(),
                    HeadedModel.open(
                            ModelDirectory.open(model.getValue()),
                            new ModelOptions(false, false, 0),
                            HeadKind.LANGUAGE,
                            HeadOptions.of(0)));
        }
    }

    @AfterAll
    static void close() {
        OPEN.values().forEach(HeadedModel::close);
        OPEN.clear();
    }

    /** The first row of each method, for these models; and of LoRA those that have another formula. */
    static Stream<Arguments> pairs() {
        Map<String, MethodConfig> methods = new LinkedHashMap<>();
        Map<Method<?>, String> first = new LinkedHashMap<>();
        MethodContractTest.rows().forEach(row -> {
            boolean other = row.name().equals("DoRA")
                    || List.of("aLoRA", "PiSSA", "EVA", "CorDA", "LoRA-GA").contains(row.name())
                    || List.of("double_seq_bn", "par_bn", "compacter", "mam", "unipelt", "DiReFT")
                            .contains(row.name())
                    || row.name().startsWith("LoReFT")
                    || row.name().startsWith("NoReFT")
                    || row.name().contains("bat")
                    || row.name().startsWith("seq_bn");
            if (first.putIfAbsent(Methods.of(row.config()), row.name()) == null || other) {
                methods.put(row.name(), row.config());
            }
        });
        methods.put("LLaMA-Adapter", new AdaptionPromptConfig(3, 2, List.of()));
        return MODELS.keySet().stream()
                .sorted()
                .flatMap(model -> methods.entrySet().stream()
                        .map(method -> arguments(model, method.getKey(), of(method.getValue(), model))));
    }

    private static MethodConfig of(MethodConfig config, String model) {
        List<String> layers = LAYERS.get(model);
        Targets targets = Targets.names(layers);
        MethodConfig bare = config.withModulesToSave(List.of());
        if (bare instanceof LoraConfig lora) {
            return lora.toBuilder()
                    .targets(targets)
                    .rankPattern(Map.of())
                    .aloraInvocationTokens(lora.activated() ? List.of(12) : List.of()) // some of the texts have it
                    .build();
        }
        if (bare instanceof LnTuningConfig || bare instanceof Ia3Config || bare instanceof BitFitConfig) {
            return Methods.of(bare).defaults();
        }
        if (bare instanceof C3aConfig c3a) { // whose rows have patterns of BERT's layers
            return c3a.withBlocks(BlockSizes.of(8)).withLayers(TargetLayers.of(targets));
        }
        if (bare instanceof FourierFtConfig fourier) {
            return fourier.withFrequencies(Frequencies.of(20)).withLayers(TargetLayers.of(targets));
        }
        if (bare instanceof XLoraConfig xlora) {
            return xlora.toBuilder()
                    .adapters(XLoraExperts.of(MODELS.get(model), HeadKind.LANGUAGE, layers.get(0), layers.get(1), 0))
                    .build();
        }
        if (bare instanceof FusionConfig fusion) {
            return fusion.toBuilder()
                    .adapters(
                            FusionExpertsOf.model(MODELS.get(model), HeadKind.LANGUAGE, BottleneckConfig.doubleSeqBn()))
                    .build();
        }
        if (bare instanceof ListConfig) { // behind attention and MLP, whatever they are called
            return bare;
        }
        return bare instanceof LinearMethodConfig linear ? linear.withLayers(TargetLayers.of(targets)) : bare;
    }

    /** Whether the model cannot have the method. */
    static boolean refused(Arguments pair) {
        return REFUSED.contains(pair.get()[0] + " " + pair.get()[1]);
    }

    /** An adapter with random values everywhere. */
    static Adapter attach(MethodConfig config, HeadedModel model) {
        return attach(Methods.of(config), config, model);
    }

    private static <C extends MethodConfig> Adapter attach(Method<C> method, MethodConfig config, HeadedModel model) {
        int[] tokens = Arrays.stream(TEXTS).flatMapToInt(Arrays::stream).toArray();
        int[] lengths = Arrays.stream(TEXTS).mapToInt(text -> text.length).toArray();
        Adapter adapter = FirstLooks.attach(method, config, "it", model, 3, tokens, lengths);
        for (Parameter parameter : adapter.parameters().values()) {
            try (PointerScope scope = new PointerScope()) {
                float[] values = Tensors.toFloats(parameter.value());
                float[] noise = Tensors.toFloats(Init.normal(5, parameter.path(), 0.2, parameter.shape()));
                for (int i = 0; i < values.length; i++) {
                    values[i] += noise[i];
                }
                parameter.set(values);
            }
        }
        return adapter;
    }

    /** Logits of each text's own tokens. */
    private static float[][] logits(HeadedModel model, List<int[]> texts, List<@Nullable Adapter> adapterOf) {
        int[] lengths = texts.stream().mapToInt(text -> text.length).toArray();
        int[] tokens = texts.stream().flatMapToInt(Arrays::stream).toArray();
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(lengths), adapterOf)) {
            var h = BlockRunner.plain().forward(model.model(), Tokens.of(tokens), ReadRows.TEXT, context);
            float[] all = Tensors.toFloats(model.head().forward(h, ReadRows.TEXT.packing(context), context));
            int width = all.length / tokens.length;
            float[][] each = new float[lengths.length][];
            int begin = 0;
            for (int s = 0; s < lengths.length; s++) {
                each[s] = Arrays.copyOfRange(all, begin * width, (begin + lengths[s]) * width);
                begin += lengths[s];
            }
            return each;
        }
    }

    private static float[][] all(HeadedModel model, @Nullable Adapter adapter) {
        return logits(model, Arrays.asList(TEXTS), Arrays.asList(adapter, adapter, adapter));
    }

    private static double difference(float[][] one, float[][] other) {
        double most = 0;
        for (int s = 0; s < one.length; s++) {
            most = Math.max(most, maxDifference(one[s], other[s]));
        }
        return most;
    }

    @ParameterizedTest(name = "{0} {1}")
    @MethodSource("pairs")
    void itKeepsTheContract(String name, String method, MethodConfig config) throws Exception {
        HeadedModel model = OPEN.get(name);
        if (REFUSED.contains(name + " " + method)) {
            assertThatThrownBy(() -> attach(Methods.of(config), config, model))
                    .isInstanceOf(IllegalArgumentException.class);
            return;
        }
        float[][] base = all(model, null);
        try (Adapter adapter = attach(Methods.of(config), config, model)) {
            float[][] adapted = all(model, adapter);
            assertThat(difference(adapted, base)).as("it does something").isGreaterThan(1e-3);
            assertThat(difference(all(model, null), base)).as("without it").isZero();
            rowsOfABatchAreAsAlone(model, adapter, base, adapted);
            mergedIsUnmerged(model, adapter, config, adapted);
            aChangedTokenLeavesThoseBeforeIt(model, adapter, method);
            if (!adapter.readsAllRows() // gates of a call see its rows: GatesTest
                    && adapter.longestText()
                            == Integer.MAX_VALUE) { // else it adds to the words of the prompt alone: PromptsTest
                cachedIsFull(model, adapter);
            }
            AdapterStore.write(directory, adapter, config, model.points(), name, "CAUSAL_LM");
            try (Adapter again =
                    AdapterStore.read(directory, "again", model.points()).adapter()) {
                assertThat(difference(all(model, again), adapted))
                        .as("read again")
                        .isLessThan(1e-5);
            }
        }
    }

    private static void rowsOfABatchAreAsAlone(HeadedModel model, Adapter adapter, float[][] base, float[][] adapted) {
        float[][] mixed = logits(model, Arrays.asList(TEXTS), Arrays.asList(adapter, null, adapter));
        assertThat(difference(mixed, new float[][] {adapted[0], base[1], adapted[2]}))
                .as("beside rows without it")
                .isLessThan(1e-4);
    }

    private static void mergedIsUnmerged(HeadedModel model, Adapter adapter, MethodConfig config, float[][] adapted) {
        Method<?> own = Methods.of(config);
        if (Methods.mergeRefusal(config).isPresent()) {
            return;
        }
        try (PointerScope scope = new PointerScope();
                HeadedModel merged = model.withTensors(own.merged(adapter, model.points()))) {
            assertThat(difference(all(merged, null), adapted)).as("merged").isLessThan(1e-4);
        }
    }

    /** But for IAPT, whose soft tokens are made of the whole instruction, here the whole text, and for gates, which are of a whole text. */
    private static void aChangedTokenLeavesThoseBeforeIt(HeadedModel model, Adapter adapter, String method) {
        if (method.startsWith("IAPT") || adapter.readsAllRows()) {
            return;
        }
        int[] changed = TEXTS[2].clone();
        changed[4] = 30;
        float[] before = logits(model, List.of(TEXTS[2]), Arrays.asList(adapter))[0];
        float[] after = logits(model, List.of(changed), Arrays.asList(adapter))[0];
        int rows = 4 * before.length / changed.length;
        assertThat(Arrays.copyOf(after, rows)).as("rows before a changed token").isEqualTo(Arrays.copyOf(before, rows));
    }

    /** Greedy text through the cache, some with the adapter and some without, is what whole texts give. */
    private static void cachedIsFull(HeadedModel model, Adapter adapter) {
        List<Prompt> prompts = new ArrayList<>();
        List<@Nullable Adapter> adapterOf = Arrays.asList(adapter, null, adapter);
        for (int s = 0; s < TEXTS.length; s++) {
            prompts.add(new Prompt(TEXTS[s], adapterOf.get(s), s));
        }
        List<Generated> made = new Generator(model.model(), (LanguageHead) model.head())
                .generate(
                        prompts,
                        new GenerationSettings(NEW, Sampling.GREEDY, List.of(), List.of()),
                        null,
                        GenerationListener.NONE);
        for (int s = 0; s < TEXTS.length; s++) {
            int[] text = TEXTS[s];
            int instruction = text.length;
            for (int token : made.get(s).ids()) {
                float[] row = last(model, text, adapterOf.get(s), instruction);
                int best = 0;
                for (int i = 1; i < row.length; i++) {
                    best = row[i] > row[best] ? i : best;
                }
                assertThat(row[token]).as("text %s, token %s", s, text.length).isGreaterThan(row[best] - 1e-3f);
                text = Arrays.copyOf(text, text.length + 1);
                text[text.length - 1] = token;
            }
        }
    }

    private static float[] last(HeadedModel model, int[] text, @Nullable Adapter adapter, int instruction) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(text.length), Arrays.asList(adapter))
                        .withInstructions(new int[] {instruction})
                        .withPrompts(List.of(Arrays.copyOf(text, instruction)))) {
            var h = BlockRunner.plain().forward(model.model(), Tokens.of(text), ReadRows.last(1), context);
            return Tensors.toFloats(model.head().forward(h, ReadRows.last(1).packing(context), context));
        }
    }
}
