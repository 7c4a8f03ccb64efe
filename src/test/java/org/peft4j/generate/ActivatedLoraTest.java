package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.model.Tokens;
import org.peft4j.model.decoder.LanguageTraining;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValueCache;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Device;

/** Activated LoRA: what PEFT computes with one, where it acts, and that all before is the plain model's, bit by bit. */
class ActivatedLoraTest {
    private static final Path DIRECTORY = Fixtures.ROOT.resolve("alora");
    private static final Map<String, TensorData> EXPECTED = Fixtures.read(DIRECTORY.resolve("expected.safetensors"));
    private static final Fixtures.Sentences TEXTS = Fixtures.sentences(EXPECTED);

    /** Where each text's last invocation begins; its length where it has none. */
    private static final int[] STARTS = {6, 4, 8, 0, 4, 5, 3};

    private static final int NEW = 12;
    private static final GenerationSettings GREEDY = new GenerationSettings(NEW, Sampling.GREEDY, List.of(), List.of());

    private static HeadedModel model;
    private static AdapterStore.Loaded loaded;

    @TempDir
    Path directory;

    @BeforeAll
    static void open() throws Exception {
        model = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
        loaded = load();
    }

    @AfterAll
    static void close() {
        loaded.adapter().close();
        model.close();
    }

    private static AdapterStore.Loaded load() throws Exception {
        return AdapterStore.read(DIRECTORY, "alora", model.points());
    }

    private static int[] text(int s) {
        return TEXTS.only(s).tokens();
    }

    private static float[] logits(Fixtures.Sentences texts, ReadRows rows, List<@Nullable Adapter> adapterOf) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(texts.packing(), adapterOf)) {
            return logits(Tokens.of(texts.tokens()), rows, context);
        }
    }

    private static float[] logits(Tokens tokens, ReadRows rows, ForwardContext context) {
        Tensor h = BlockRunner.plain().forward(model.model(), tokens, rows, context);
        return Tensors.toFloats(model.head().forward(h, rows.packing(context), context));
    }

    private static List<@Nullable Adapter> all(@Nullable Adapter adapter) {
        return Collections.nCopies(STARTS.length, adapter);
    }

    @Test
    void logitsArePeftsAndThoseBeforeTheInvocationThePlainModels() {
        float[] ours = logits(TEXTS, ReadRows.TEXT, all(loaded.adapter()));
        float[] base = logits(TEXTS, ReadRows.TEXT, all(null));
        assertThat(maxDifference(ours, EXPECTED.get("logits").toFloats())).isLessThan(1e-4);
        int width = ours.length / TEXTS.tokens().length;
        for (int s = 0; s < STARTS.length; s++) {
            int begin = (int) TEXTS.packing().begin(s) * width;
            int start = begin + STARTS[s] * width;
            int end = (int) TEXTS.packing().end(s) * width;
            assertThat(Arrays.copyOfRange(ours, begin, start))
                    .as("text " + s)
                    .isEqualTo(Arrays.copyOfRange(base, begin, start));
            if (start < end) {
                assertThat(maxDifference(
                                Arrays.copyOfRange(ours, start, start + width),
                                Arrays.copyOfRange(base, start, start + width)))
                        .isGreaterThan(1e-3);
            }
        }
    }

    /** Fewer rows than all behind the last block: the invocation is before them, among them, or nowhere. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 5})
    void rowsThatAreReadAloneAreTheSame(int n) {
        float[] whole = EXPECTED.get("logits").toFloats();
        int width = whole.length / TEXTS.tokens().length;
        float[] last = logits(TEXTS, ReadRows.last(n), all(loaded.adapter()));
        for (int s = 0; s < STARTS.length; s++) {
            int end = (int) TEXTS.packing().end(s);
            assertThat(maxDifference(
                            Arrays.copyOfRange(last, s * n * width, (s + 1) * n * width),
                            Arrays.copyOfRange(whole, (end - n) * width, end * width)))
                    .isLessThan(1e-4);
        }
    }

    @Test
    void gradientsAndLossesArePefts() throws Exception {
        try (Adapter adapter = load().adapter()) {
            LanguageTraining.firstStepEqualsPefts(model, adapter, TEXTS, BlockRunner.plain(), EXPECTED);
            LanguageTraining.clearGradients(adapter);
            try (RecomputedBlocks blocks = new RecomputedBlocks()) {
                LanguageTraining.firstStepEqualsPefts(model, adapter, TEXTS, blocks, EXPECTED);
            }
        }
        try (Adapter adapter = load().adapter()) {
            LanguageTraining.lossesEqualPefts(model, adapter, TEXTS, EXPECTED);
        }
    }

    @Test
    void textsWithoutAnInvocationTrainNothing() throws Exception {
        try (Adapter adapter = load().adapter()) {
            for (BlockRunner blocks : List.of(BlockRunner.plain(), new RecomputedBlocks())) {
                LanguageTraining.backward(model, adapter, TEXTS.only(0), blocks, 0);
                adapter.parameters()
                        .values()
                        .forEach(parameter ->
                                assertThat(parameter.value().grad().defined()).isFalse());
            }
        }
    }

    @Test
    void filesAreWrittenBackAsTheyCame() throws Exception {
        AdapterStore.write(directory, loaded.adapter(), loaded.config(), model.points(), "tiny-llama", "CAUSAL_LM");
        AdapterFile ours = AdapterFiles.read(directory);
        AdapterFile theirs = AdapterFiles.read(DIRECTORY);
        assertThat(ours.config().get("alora_invocation_tokens")).isEqualTo(List.of(9, 9, 4));
        assertThat(ours.config())
                .containsKeys(theirs.config().keySet().stream()
                        .filter(key -> !key.equals("peft_version"))
                        .toArray(String[]::new));
        assertThat(new TreeMap<>(ours.tensors()).keySet()).isEqualTo(new TreeMap<>(theirs.tensors()).keySet());
        theirs.tensors()
                .forEach((key, data) ->
                        assertThat(ours.tensors().get(key).bytes()).as(key).isEqualTo(data.bytes()));
    }

    @Test
    void greedyTokensArePefts() {
        int[] greedy = Fixtures.ints(EXPECTED.get("greedy"));
        List<Prompt> prompts = IntStream.range(0, STARTS.length)
                .mapToObj(s -> new Prompt(text(s), loaded.adapter(), s))
                .toList();
        List<String> notes = new ArrayList<>();
        List<Generated> ours = new Generator(model.model(), (LanguageHead) model.head())
                .generate(prompts, GREEDY, null, new GenerationListener() {
                    @Override
                    public void note(String text) {
                        notes.add(text);
                    }
                });
        for (int s = 0; s < STARTS.length; s++) {
            assertThat(ours.get(s).ids()).as("text " + s).isEqualTo(Arrays.copyOfRange(greedy, s * NEW, (s + 1) * NEW));
        }
        assertThat(notes).hasSize(1);
        assertThat(notes.get(0)).contains("prompt 0 does not have the tokens [9, 9, 4]", "the plain model answers");
    }

    /** Scores look for the invocation in the whole text, its answer too, as PEFT's forward does. */
    @Test
    void scoresAreOfTheWholeText() {
        float[] logits = EXPECTED.get("logits").toFloats();
        int width = logits.length / TEXTS.tokens().length;
        int[] text = text(1);
        double expected = 0;
        for (int i = 6; i < text.length; i++) {
            int row = ((int) TEXTS.packing().begin(1) + i - 1) * width;
            double sum = 0;
            for (int v = 0; v < width; v++) {
                sum += Math.exp(logits[row + v]);
            }
            expected += logits[row + text[i]] - Math.log(sum);
        }
        assertThat(new Generator(model.model(), (LanguageHead) model.head())
                        .score(List.of(new Generator.Scored(text, 6, loaded.adapter())))
                        .get(0)
                        .logProb())
                .isCloseTo(expected, org.assertj.core.data.Offset.offset(1e-3));
    }

    /** A cache that also keeps what is written into it. */
    private record Recording(Cache cache, List<float[]> written) implements KeyValueCache {
        @Override
        public boolean filled() {
            return cache.filled();
        }

        @Override
        public int length(int sequence) {
            return cache.length(sequence);
        }

        @Override
        public void write(int layer, Tensor keys, Tensor values) {
            written.add(Tensors.toFloats(keys));
            written.add(Tensors.toFloats(values));
            cache.write(layer, keys, values);
        }

        @Override
        public void writePrefix(int layer, int sequence, Tensor keys, Tensor values) {
            cache.writePrefix(layer, sequence, keys, values);
        }

        @Override
        public Rows read(int layer) {
            return cache.read(layer);
        }
    }

    private static List<float[]> keysAndValues(int[] text, @Nullable Adapter adapter) {
        List<float[]> written = new ArrayList<>();
        parts(text, adapter, List.of(text.length), written);
        return written;
    }

    /** Logits of each row of a text that comes in parts, the last of which are new tokens one by one. */
    private static float[] parts(int[] text, @Nullable Adapter adapter, List<Integer> lengths, List<float[]> written) {
        int prompt = lengths.stream().mapToInt(Integer::intValue).sum();
        List<Integer> all = new ArrayList<>(lengths);
        all.addAll(Collections.nCopies(text.length - prompt, 1));
        List<float[]> logits = new ArrayList<>();
        try (NoGradGuard noGrad = new NoGradGuard();
                Cache cache = new Cache(model.model().info().output(), ScalarType.Float, Device.CPU, 100)) {
            Cache.Need need = new Cache.Need(0, null, text.length, text.length, 1);
            cache.enter(need);
            Cache.Place place = cache.open(need);
            int at = 0;
            for (int length : all) {
                try (PointerScope scope = new PointerScope()) {
                    cache.choose(List.of(place), at > 0);
                    ForwardContext context = ForwardContext.continued(
                                    Packing.of(length),
                                    Collections.singletonList(adapter),
                                    new Recording(cache, written),
                                    null)
                            .withPrompts(List.of(Arrays.copyOf(text, prompt)));
                    cache.begin(context.packing());
                    logits.add(logits(Tokens.of(Arrays.copyOfRange(text, at, at + length)), ReadRows.ALL, context));
                    cache.end();
                }
                at += length;
            }
        }
        float[] joined = new float[logits.stream().mapToInt(part -> part.length).sum()];
        int at = 0;
        for (float[] part : logits) {
            System.arraycopy(part, 0, joined, at, part.length);
            at += part.length;
        }
        return joined;
    }

    @Test
    void keysAndValuesBeforeTheInvocationAreThePlainModels() {
        for (int s = 0; s < STARTS.length; s++) {
            List<float[]> ours = keysAndValues(text(s), loaded.adapter());
            List<float[]> base = keysAndValues(text(s), null);
            assertThat(ours).hasSameSizeAs(base).hasSize(4);
            for (int i = 0; i < ours.size(); i++) {
                int row = ours.get(i).length / text(s).length;
                assertThat(Arrays.copyOf(ours.get(i), STARTS[s] * row))
                        .isEqualTo(Arrays.copyOf(base.get(i), STARTS[s] * row));
                if (STARTS[s] < text(s).length) {
                    assertThat(ours.get(i)).isNotEqualTo(base.get(i));
                }
            }
        }
    }

    /** The prompt alone says where; what is written behind it calls nothing up, though it be the invocation. */
    @Test
    void aPromptInPartsIsThatPrompt() {
        int[] text = text(2);
        Fixtures.Sentences own = TEXTS.only(2);
        float[] whole = logits(own, ReadRows.ALL, List.of(loaded.adapter()));
        for (List<Integer> lengths : List.of(
                List.of(14),
                List.of(4, 10),
                List.of(9, 5),
                List.of(10, 1, 3),
                List.of(1, 7, 1, 1, 4),
                List.of(3, 6, 2))) {
            assertThat(maxDifference(parts(text, loaded.adapter(), lengths, new ArrayList<>()), whole))
                    .as(lengths.toString())
                    .isLessThan(1e-4);
        }
        // A prompt that ends before the second invocation acts from the first one on.
        float[] earlier = parts(text, loaded.adapter(), List.of(7), new ArrayList<>());
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(own.packing(), loaded.adapter())
                        .withPrompts(List.of(Arrays.copyOf(text, 7)))) {
            float[] anew = logits(Tokens.of(text), ReadRows.ALL, context);
            assertThat(maxDifference(earlier, anew)).isLessThan(1e-4);
            assertThat(maxDifference(anew, whole)).isGreaterThan(1e-3);
        }
        // One without any never acts.
        float[] base = logits(own, ReadRows.ALL, Collections.singletonList(null));
        assertThat(maxDifference(parts(text, loaded.adapter(), List.of(1), new ArrayList<>()), base))
                .isLessThan(1e-4);
    }

    @Test
    void rowsThatContinueAPromptNobodyToldAreRefused() {
        try (NoGradGuard noGrad = new NoGradGuard();
                PointerScope scope = new PointerScope();
                Cache cache = new Cache(model.model().info().output(), ScalarType.Float, Device.CPU, 100)) {
            Cache.Need need = new Cache.Need(0, null, 5, 5, 1);
            cache.enter(need);
            cache.choose(List.of(cache.open(need)), true);
            ForwardContext context = ForwardContext.continued(Packing.of(1), List.of(loaded.adapter()), cache, null);
            cache.begin(context.packing());
            assertThatThrownBy(() -> logits(Tokens.of(5), ReadRows.ALL, context))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("was not told the prompts");
        }
    }

    /** Rows of another adapter before the text, on the same rows: they are before the invocation. */
    @Test
    void insertedRowsOfAnotherAdapterAreBeforeIt() {
        PromptConfig prompt = PromptConfig.of(3);
        try (Adapter inserts = Methods.of(prompt).attach("prompt", prompt, model.points(), 5);
                PointerScope scope = new PointerScope()) {
            Fixtures.Sentences own = TEXTS.only(1);
            float[] both;
            float[] alone;
            try (ForwardContext context = ForwardContext.inference(own.packing(), inserts, loaded.adapter());
                    ForwardContext plain = ForwardContext.inference(own.packing(), inserts)) {
                both = logits(Tokens.of(own.tokens()), ReadRows.ALL, context);
                alone = logits(Tokens.of(own.tokens()), ReadRows.ALL, plain);
            }
            int width = both.length / (3 + own.tokens().length);
            int before = (3 + STARTS[1]) * width;
            assertThat(Arrays.copyOf(both, before)).isEqualTo(Arrays.copyOf(alone, before));
            assertThat(maxDifference(
                            Arrays.copyOfRange(both, before, before + width),
                            Arrays.copyOfRange(alone, before, before + width)))
                    .isGreaterThan(1e-3);
        }
    }

    @Test
    void eachRowOfABatchHasItsOwnAdapter() {
        LoraConfig other = LoraConfig.builder()
                .r(2)
                .targets("q_proj", "v_proj")
                .aloraInvocationTokens(List.of(4))
                .build();
        try (Adapter waits = Methods.of(other).attach("other", other, model.points(), 5)) {
            waits.parameters().values().forEach(parameter -> {
                float[] values = new float[(int) parameter.elements()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = (float) Math.sin(i);
                }
                parameter.set(values);
            });
            List<@Nullable Adapter> adapterOf =
                    Arrays.asList(loaded.adapter(), waits, loaded.adapter(), null, waits, waits, loaded.adapter());
            float[] mixed = logits(TEXTS, ReadRows.last(2), adapterOf);
            int row = mixed.length / STARTS.length;
            for (int s = 0; s < STARTS.length; s++) {
                float[] alone = logits(TEXTS.only(s), ReadRows.last(2), Collections.singletonList(adapterOf.get(s)));
                assertThat(maxDifference(alone, Arrays.copyOfRange(mixed, s * row, (s + 1) * row)))
                        .isLessThan(1e-5);
            }
        }
    }

    /** A part of W is trained from the invocation on; before it the weight is the file's. */
    @Test
    void aStartFromTheWeightLeavesTheRowsBeforeIt() {
        LoraConfig config = LoraConfig.builder()
                .r(4)
                .targets("q_proj", "v_proj")
                .init(InitLora.PISSA)
                .aloraInvocationTokens(List.of(9, 9, 4))
                .build();
        try (Adapter adapter = Methods.of(config).attach("pissa", config, model.points(), 5)) {
            adapter.parameters().values().forEach(parameter -> parameter.set(new float[(int) parameter.elements()]));
            float[] ours = logits(TEXTS.only(1), ReadRows.ALL, List.of(adapter));
            float[] base = logits(TEXTS.only(1), ReadRows.ALL, Collections.singletonList(null));
            int before = STARTS[1] * ours.length / text(1).length;
            assertThat(Arrays.copyOf(ours, before)).isEqualTo(Arrays.copyOf(base, before));
            assertThat(maxDifference(ours, base)).isGreaterThan(1e-3);
        }
    }

    @Test
    void tablesAndHeadsAndTokensOfNoModelAreRefused() {
        for (String module : List.of("embed_tokens", "lm_head")) {
            LoraConfig config = LoraConfig.builder()
                    .targets(Targets.names("q_proj", module))
                    .aloraInvocationTokens(List.of(9))
                    .build();
            assertThatThrownBy(() -> Methods.of(config).attach("it", config, model.points(), 1))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining(module + " with alora_invocation_tokens");
        }
        LoraConfig beyond =
                LoraConfig.builder().aloraInvocationTokens(List.of(9, 200)).build();
        assertThatThrownBy(() -> Methods.of(beyond).attach("it", beyond, model.points(), 1))
                .hasMessageContaining("alora_invocation_tokens must be below 200", "got 200");
        LoraConfig text = LoraConfig.builder().aloraInvocation("Answer:").build();
        assertThatThrownBy(() -> Methods.of(text).attach("it", text, model.points(), 1))
                .hasMessageContaining("must be told in tokens");
    }
}
