package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Variants;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.ptuning.Encoder;
import org.peft4j.method.ptuning.PTuningConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** Continuations of tiny-llama, which transformers and PEFT made, too, and what may not change them. */
class GeneratorTest {
    private static final int VOCABULARY = 200;
    private static final int NEW = 12;
    private static final Map<String, TensorData> EXPECTED =
            Fixtures.read(Fixtures.TINY_LLAMA.resolve("expected.safetensors"));
    private static final GenerationSettings GREEDY = new GenerationSettings(NEW, Sampling.GREEDY, List.of(), List.of());

    private static final List<String> NAMES = List.of("lora", "prefix", "ia3", "prompt");

    private static HeadedModel model;
    private static final Map<String, Adapter> ADAPTERS = new HashMap<>();
    private static Adapter lora;
    private static Adapter prefix;
    private static Generator generator;

    @TempDir
    Path dir;

    @BeforeAll
    static void open() throws Exception {
        model = open(Fixtures.TINY_LLAMA);
        for (String name : NAMES) {
            ADAPTERS.put(name, adapter(name));
        }
        // The rows of its prompt are made by a network for each call.
        PTuningConfig made = new PTuningConfig(4, Encoder.MLP, 0, List.of());
        ADAPTERS.put("p-tuning", Methods.of(made).attach("p-tuning", made, model.points(), 5));
        lora = ADAPTERS.get("lora");
        prefix = ADAPTERS.get("prefix");
        generator = generator(model);
    }

    @AfterAll
    static void close() {
        ADAPTERS.values().forEach(Adapter::close);
        ADAPTERS.clear();
        model.close();
    }

    private static HeadedModel open(Path directory) throws Exception {
        return HeadedModel.open(
                ModelDirectory.open(directory), ModelOptions.defaults(), HeadKind.LANGUAGE, HeadOptions.of(0));
    }

    private static Generator generator(HeadedModel of) {
        return new Generator(of.model(), (LanguageHead) of.head());
    }

    private static Adapter adapter(String name) throws Exception {
        return AdapterStore.read(AdapterFiles.read(Fixtures.TINY_LLAMA.resolve(name)), name, model.points())
                .adapter();
    }

    private static List<int[]> texts() {
        Fixtures.Sentences sentences = Fixtures.sentences(EXPECTED);
        return IntStream.range(0, 5).mapToObj(s -> sentences.only(s).tokens()).toList();
    }

    private static List<int[]> greedy(String adapter) {
        Path file = adapter.isEmpty()
                ? Fixtures.TINY_LLAMA.resolve("expected.safetensors")
                : Fixtures.TINY_LLAMA.resolve(adapter).resolve("expected.safetensors");
        int[] all = Fixtures.ints(Fixtures.read(file).get("greedy"));
        return IntStream.range(0, 5)
                .mapToObj(s -> Arrays.copyOfRange(all, s * NEW, (s + 1) * NEW))
                .toList();
    }

    private static List<Prompt> prompts(List<Adapter> adapters) {
        List<int[]> texts = texts();
        return IntStream.range(0, 5)
                .mapToObj(s -> new Prompt(texts.get(s), adapters.get(s), s))
                .toList();
    }

    private static List<Generated> generate(List<Adapter> adapters, GenerationSettings settings) {
        return generator.generate(prompts(adapters), settings, null, GenerationListener.NONE);
    }

    @Test
    void likeliestTokensAreTransformersAndPefts() {
        for (String name : List.of("", "lora", "prefix", "ia3", "prompt")) {
            List<Generated> ours = generate(Collections.nCopies(5, ADAPTERS.get(name)), GREEDY);
            for (int s = 0; s < 5; s++) {
                assertThat(ours.get(s).ids())
                        .as(name + s)
                        .isEqualTo(greedy(name).get(s));
                assertThat(ours.get(s).reason()).isEqualTo(Generated.Reason.LENGTH);
            }
        }
    }

    /** Each text with each adapter, beside texts with others. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4})
    void rowsOfDifferentAdaptersGoOnTogetherAsAlone(int turned) {
        List<String> of = new ArrayList<>(List.of("prefix", "", "prompt", "lora", "ia3"));
        Collections.rotate(of, turned);
        List<Generated> ours = generate(of.stream().map(ADAPTERS::get).toList(), GREEDY);
        for (int s = 0; s < 5; s++) {
            assertThat(ours.get(s).ids()).isEqualTo(greedy(of.get(s)).get(s));
        }
    }

    /** Within the model's positions and beyond, with rows inserted before some prompts, keys and values before others, or nothing. */
    @ParameterizedTest
    @CsvSource({"theta, 0", "theta, 1", "theta, 2", "yarn, 3", "linear, 4"})
    void cachedLogitsAreThoseOfTheWholeText(String rope, int turned) throws Exception {
        withRope(rope);
        List<Adapter> adapters = new ArrayList<>(Arrays.asList(
                prefix,
                null,
                ADAPTERS.get("prompt"),
                ADAPTERS.get("p-tuning"),
                turned < 3 ? ADAPTERS.get("ia3") : lora));
        Collections.rotate(adapters, turned);
        List<int[]> texts = texts();
        List<int[]> next = greedy("");
        try (HeadedModel own = open(dir);
                NoGradGuard noGrad = new NoGradGuard();
                Cache cache = new Cache(own.model().info().output(), ScalarType.Float, Device.CPU, 1000)) {
            List<Cache.Place> places = new ArrayList<>();
            for (int s = 0; s < 5; s++) {
                Cache.Need need = need(adapters.get(s), texts.get(s).length);
                cache.enter(need);
                places.add(cache.open(need));
            }
            List<int[]> whole = new ArrayList<>(texts);
            List<int[]> rows = texts;
            for (int step = 0; step < 30; step++) {
                float[] cached;
                try (PointerScope scope = new PointerScope()) {
                    cache.choose(places, step > 0);
                    ForwardContext context = ForwardContext.continued(packing(rows), adapters, cache, null);
                    cache.begin(context.packing());
                    cached = last(own, rows, context);
                    cache.end();
                    float[] anew = last(own, whole, ForwardContext.inference(packing(whole), adapters));
                    assertThat(maxDifference(cached, anew)).as("step " + step).isLessThan(1e-4);
                }
                rows = new ArrayList<>();
                for (int s = 0; s < 5; s++) {
                    int[] token = {next.get(s)[step % NEW]};
                    rows.add(token);
                    whole.set(
                            s,
                            IntStream.concat(Arrays.stream(whole.get(s)), Arrays.stream(token))
                                    .toArray());
                }
            }
        }
    }

    private static Cache.Need need(Adapter adapter, long rows) {
        int inserted = adapter == null ? 0 : adapter.inserted();
        int prefixed = adapter == null ? 0 : adapter.positions() - inserted;
        return new Cache.Need(prefixed, prefixed == 0 ? null : adapter, inserted + rows, inserted + rows + 30, 1);
    }

    private void withRope(String rope) throws Exception {
        Map<String, Object> ropes = Json.readObject(Fixtures.TINY_LLAMA.resolve("rope.json"));
        Variants.tinyLlama(dir, tensors -> {}, keys -> {
            keys.remove("rope_parameters");
            ((Map<?, ?>) ropes.get(rope)).forEach((key, value) -> keys.put((String) key, value));
        });
    }

    /** Also where the length of the whole sequence says how positions turn heads, from the model's positions on. */
    @ParameterizedTest
    @ValueSource(strings = {"theta", "dynamic", "dynamic-old", "yarn"})
    void eachTokenIsTheLikeliestOfTheWholeTextBeforeIt(String rope) throws Exception {
        withRope(rope);
        List<Adapter> adapters = Arrays.asList(prefix, null, ADAPTERS.get("prompt"), lora, ADAPTERS.get("p-tuning"));
        List<Prompt> prompts = new ArrayList<>(prompts(adapters));
        int[] longer = IntStream.range(0, 40).map(i -> 3 + i * 37 % 190).toArray();
        prompts.set(1, new Prompt(longer, null, 1));
        GenerationSettings settings = new GenerationSettings(30, Sampling.GREEDY, List.of(), List.of());
        try (HeadedModel own = open(dir);
                NoGradGuard noGrad = new NoGradGuard()) {
            List<Generated> ours = generator(own).generate(prompts, settings, null, GenerationListener.NONE);
            for (int s = 0; s < 5; s++) {
                int[] ids = ours.get(s).ids();
                assertThat(ids).hasSize(30);
                int[] prompt = prompts.get(s).ids();
                for (int n = 0; n < ids.length; n++) {
                    int[] whole = Arrays.copyOf(prompt, prompt.length + n);
                    System.arraycopy(ids, 0, whole, prompt.length, n);
                    try (PointerScope scope = new PointerScope()) {
                        List<Adapter> with = Collections.singletonList(adapters.get(s));
                        float[] logits =
                                last(own, List.of(whole), ForwardContext.inference(Packing.of(whole.length), with));
                        float most = Float.NEGATIVE_INFINITY;
                        for (float logit : logits) {
                            most = Math.max(most, logit);
                        }
                        assertThat(logits[ids[n]]).as(s + ", token " + n).isCloseTo(most, offset(1e-4f));
                    }
                }
            }
        }
    }

    /** They share blocks, and all rows are other ones when the text grows beyond the model's 32 positions. */
    @ParameterizedTest
    @ValueSource(strings = {"dynamic", "yarn"})
    void answersThatShareBlocksAreThoseOfWholeTexts(String rope) throws Exception {
        withRope(rope);
        int[] prompt = IntStream.range(0, 25).map(i -> 3 + i * 37 % 190).toArray();
        Answers searched = new Answers(2, new BeamSearch(3, 1, BeamSearch.EarlyStopping.NO));
        try (HeadedModel own = open(dir);
                NoGradGuard noGrad = new NoGradGuard()) {
            for (GenerationSettings settings : List.of(
                    new GenerationSettings(14, Sampling.draws(1, 2), new Answers(3, null), List.of(), List.of(), true),
                    new GenerationSettings(14, Sampling.GREEDY, searched, List.of(), List.of(), true))) {
                List<Generated> answers = generator(own)
                        .answers(List.of(new Prompt(prompt, prefix, 0)), settings, null, GenerationListener.NONE)
                        .get(0);
                for (Generated answer : answers) {
                    int[] whole = Arrays.copyOf(prompt, prompt.length + 14);
                    System.arraycopy(answer.ids(), 0, whole, prompt.length, 14);
                    for (int n = 0; n < 14; n++) {
                        int length = prompt.length + n;
                        try (PointerScope scope = new PointerScope()) {
                            float[] logits = last(
                                    own,
                                    List.of(Arrays.copyOf(whole, length)),
                                    ForwardContext.inference(Packing.of(length), prefix));
                            assertThat(answer.logProbs()[n])
                                    .as("token " + n)
                                    .isCloseTo(logits[whole[length]] - Logits.logSumExp(logits), offset(1e-4));
                        }
                    }
                }
            }
        }
    }

    private static Packing packing(List<int[]> ids) {
        return Packing.of(ids.stream().mapToInt(of -> of.length).toArray());
    }

    private static float[] last(HeadedModel of, List<int[]> ids, ForwardContext context) {
        try (context) {
            ReadRows rows = ReadRows.last(1);
            Tokens tokens = Tokens.of(ids.stream().flatMapToInt(Arrays::stream).toArray());
            return Tensors.toFloats(of.head()
                    .forward(
                            BlockRunner.plain().forward(of.model(), tokens, rows, context),
                            rows.packing(context),
                            context));
        }
    }

    /** In the type that the processor has for it. */
    @Test
    void generatesInBfloat16() throws Exception {
        ModelDirectory directory = ModelDirectory.open(Fixtures.ROOT.resolve("tiny-llama-odd"));
        ModelOptions options = new ModelOptions(true, false, 0);
        try (HeadedModel own = HeadedModel.open(directory, options, HeadKind.LANGUAGE, HeadOptions.of(0))) {
            List<Prompt> prompts = prompts(Arrays.asList(null, null, null, null, null));
            for (Generated one : generator(own).generate(prompts, GREEDY, null, GenerationListener.NONE)) {
                assertThat(one.ids()).hasSize(NEW);
            }
            assertThat(generator(own)
                            .score(List.of(new Generator.Scored(texts().get(4), 1, null)))
                            .get(0)
                            .logProb())
                    .isNegative();
        }
    }

    @Test
    void aRowEndsAtAnEndTokenAndTheOthersGoOn() {
        int[] first = greedy("").get(0);
        int[] second = greedy("").get(1);
        GenerationSettings settings = new GenerationSettings(NEW, Sampling.GREEDY, List.of(), List.of(199, first[3]));
        List<Generated> ours = generate(Arrays.asList(null, null, null, null, null), settings);
        assertThat(ours.get(0).ids()).isEqualTo(Arrays.copyOf(first, index(first, first[3])));
        assertThat(ours.get(0).reason()).isEqualTo(Generated.Reason.END_TOKEN);
        int end = index(second, first[3]);
        assertThat(ours.get(1).ids()).isEqualTo(Arrays.copyOf(second, end < 0 ? NEW : end));
    }

    private static int index(int[] values, int value) {
        return IntStream.range(0, values.length)
                .filter(i -> values[i] == value)
                .findFirst()
                .orElse(-1);
    }

    /** Tokens as texts of two letters, so that a stop string may begin within one and end within another. */
    private static String text(int... ids) {
        StringBuilder text = new StringBuilder();
        for (int id : ids) {
            text.append((char) ('a' + id / 15)).append((char) ('A' + id % 15));
        }
        return text.toString();
    }

    @Test
    void aStopStringEndsWhereverTokensDoAndIsNoPartOfTheText() {
        int[] tokens = greedy("").get(2);
        String all = text(tokens);
        String stop = all.substring(5, 8);
        assertThat(all.indexOf(stop)).isEqualTo(5);
        List<Integer> told = new ArrayList<>();
        List<Generated> done = new ArrayList<>();
        Generated ours = generator
                .generate(
                        List.of(prompts(Arrays.asList(null, null, null, null, null))
                                .get(2)),
                        new GenerationSettings(NEW, Sampling.GREEDY, List.of("ZZ", stop), List.of()),
                        (prompt, ids) -> text(ids),
                        new GenerationListener() {
                            @Override
                            public void token(int answer, int id) {
                                told.add(id);
                            }

                            @Override
                            public void done(int answer, Generated generated) {
                                done.add(generated);
                            }
                        })
                .get(0);
        assertThat(ours.reason()).isEqualTo(Generated.Reason.STOP_STRING);
        assertThat(ours.text()).isEqualTo(all.substring(0, 5));
        assertThat(ours.ids()).isEqualTo(Arrays.copyOf(tokens, 4));
        assertThat(told).containsExactly(tokens[0], tokens[1], tokens[2], tokens[3]);
        assertThat(done).containsExactly(ours);
    }

    @Test
    void drawsDependOnSeedAndNumberAlone() {
        GenerationSettings drawn =
                new GenerationSettings(NEW, new Sampling(0.9, 50, 0.95, 0, Penalties.NONE, 3), List.of(), List.of());
        GenerationSettings other =
                new GenerationSettings(NEW, new Sampling(0.9, 50, 0.95, 0, Penalties.NONE, 4), List.of(), List.of());
        List<Adapter> none = Arrays.asList(null, null, null, null, null);
        List<Generated> together = generate(none, drawn);
        Generated alone = generator
                .generate(List.of(prompts(none).get(3)), drawn, null, GenerationListener.NONE)
                .get(0);
        assertThat(alone.ids()).isEqualTo(together.get(3).ids());
        assertThat(generate(none, other).get(3).ids()).isNotEqualTo(alone.ids());
        Prompt renumbered = new Prompt(texts().get(3), null, 77);
        assertThat(generator
                        .generate(List.of(renumbered), drawn, null, GenerationListener.NONE)
                        .get(0)
                        .ids())
                .isNotEqualTo(alone.ids());
    }

    @Test
    void aTextBeyondTheModelsPositionsGetsANoteOnce() {
        List<String> notes = new ArrayList<>();
        GenerationListener listener = new GenerationListener() {
            @Override
            public void note(String text) {
                notes.add(text);
            }
        };
        List<Prompt> prompts = prompts(Arrays.asList(null, null, null, null, prefix));
        generator.generate(prompts.subList(0, 4), GREEDY, null, listener);
        assertThat(notes).isEmpty();
        generator.generate(prompts, GREEDY, null, listener); // 20 and a prefix of 5, then 12 new ones: more than 32
        assertThat(notes).hasSize(1).first().asString().contains("more than 32 positions");
    }

    @Test
    void scoresAreSumsOfLogProbabilities() {
        List<int[]> texts = texts();
        Adapter[] adapters = {ADAPTERS.get("prompt"), lora, ADAPTERS.get("prompt"), null, ADAPTERS.get("prompt")};
        int[] first = {0, 2, 0, 12, 15};
        List<Generator.Scored> scored = IntStream.range(0, 5)
                .mapToObj(s -> new Generator.Scored(texts.get(s), first[s], adapters[s]))
                .toList();
        List<Generator.Score> scores = generator.score(scored);
        int[] tokens = {0, 1, 6, 0, 5};
        for (int s = 0; s < 5; s++) {
            assertThat(scores.get(s).tokens()).isEqualTo(tokens[s]);
            assertThat(scores.get(s).logProb())
                    .isCloseTo(logProb(texts.get(s), texts.get(s).length - tokens[s], adapters[s]), offset(1e-4));
        }
    }

    private static double logProb(int[] ids, int first, Adapter adapter) {
        Adapter[] adapters = adapter == null ? new Adapter[0] : new Adapter[] {adapter};
        try (PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard();
                ForwardContext context = ForwardContext.inference(Packing.of(ids.length), adapters)) {
            float[] all =
                    Tensors.toFloats(model.outputs(Tokens.of(ids), context).log_softmax(1));
            return IntStream.range(first, ids.length)
                    .mapToDouble(i -> all[((int) context.rowOf(0, i) - 1) * VOCABULARY + ids[i]])
                    .sum();
        }
    }

    @Test
    void nothingIsLeftBehind() {
        List<Adapter> adapters = Arrays.asList(prefix, null, lora, ADAPTERS.get("prompt"), ADAPTERS.get("p-tuning"));
        generate(adapters, GREEDY);
        System.gc();
        long before = Ops.liveBytes();
        for (int i = 0; i < 3; i++) {
            generate(adapters, GREEDY);
        }
        assertThat(Ops.liveBytes())
                .isLessThanOrEqualTo(before); // less: what other tests left may be collected meanwhile
    }

    @Test
    void refusesWhatCannotBeGenerated() {
        assertThatThrownBy(() -> Sampling.draws(-0.1, 0))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("temperature must be 0")
                .hasMessageContaining("got -0.1");
        assertThatThrownBy(() -> Sampling.draws(Double.NaN, 0)).isInstanceOf(ConfigException.class);
        assertThatThrownBy(() -> new Sampling(1, -1, 1, 0, Penalties.NONE, 0)).hasMessageContaining("top_k must be 0");
        for (double p : new double[] {0, -1, 1.01, Double.NaN}) {
            assertThatThrownBy(() -> new Sampling(1, 0, p, 0, Penalties.NONE, 0))
                    .hasMessageContaining("top_p must be above 0");
        }
        assertThatThrownBy(() -> new GenerationSettings(0, Sampling.GREEDY, List.of(), List.of()))
                .hasMessageContaining("max_new_tokens must be at least 1, got 0");
        assertThatThrownBy(() -> new GenerationSettings(1, Sampling.GREEDY, List.of(".", " ", ""), List.of()))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("a stop string must have at least one character");
        assertThatThrownBy(() -> generator.generate(
                        List.of(new Prompt(new int[0], null, 0)), GREEDY, null, GenerationListener.NONE))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("prompt 0 must have at least one token");
        GenerationSettings huge = new GenerationSettings(2_000_000_000, Sampling.GREEDY, List.of(), List.of());
        List<Prompt> many = Collections.nCopies(8, new Prompt(new int[] {5}, null, 0));
        assertThatThrownBy(() -> generator.generate(many, huge, null, GenerationListener.NONE))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(
                        "prompt 0: keys and values of a sequence with up to 2,000,000,000 rows would take")
                .hasMessageContaining("GiB, the cache may have")
                .hasMessageContaining("--max-new-tokens");
    }
}
