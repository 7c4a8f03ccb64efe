package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.peft4j.Fixtures.maxDifference;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.generate.GenerationListener;
import org.peft4j.generate.GenerationSettings;
import org.peft4j.generate.Generator;
import org.peft4j.generate.Prompt;
import org.peft4j.generate.Sampling;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckLora;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.spi.Methods;
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
import org.peft4j.nn.seam.KeyValueCache;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;

/** Gates of UniPELT: the whole of it against its formulas in double, with and without a cache; and what is refused. */
class GatesTest {
    private static final BottleneckConfig CONFIG = BottleneckConfig.unipelt().toBuilder()
            .reductionFactor(ReductionFactor.of(4))
            .prefix(new BottleneckPrefix(3, 6))
            .lora(BottleneckLora.defaults().withR(2))
            .build();

    private static final BottleneckConfig TWO_GATES =
            CONFIG.toBuilder().prefix(new BottleneckPrefix(3, 6, false)).build();

    private static final int[][] TEXTS = {{5, 49, 40, 8}, {33, 9}, {21, 4, 38, 60, 12, 50, 7}};

    private static HeadedModel bert;
    private static HeadedModel llama;

    @BeforeAll
    static void open() throws Exception {
        bert = HeadedModel.open(
                Fixtures.tinyBert(), new ModelOptions(false, false, 0), HeadKind.SEQUENCE, HeadOptions.of(2));
        llama = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
    }

    @AfterAll
    static void close() {
        bert.close();
        llama.close();
    }

    /** Random everywhere, so that gates are far from one half and from each other. */
    private static Adapter random(BottleneckConfig config, HeadedModel model) {
        Adapter adapter = Methods.of(config).attach("it", config, model.points(), 3);
        for (Parameter parameter : adapter.parameters().values()) {
            try (PointerScope scope = new PointerScope()) {
                double std = parameter.group().equals("gate") ? 1 : 0.4;
                parameter.set(Tensors.toFloats(
                        parameter.value().add(Init.normal(5, parameter.path(), std, parameter.shape()))));
            }
        }
        return adapter;
    }

    private static int[] joined(int[]... texts) {
        return Arrays.stream(texts).flatMapToInt(Arrays::stream).toArray();
    }

    private static int[] lengths(int[]... texts) {
        return Arrays.stream(texts).mapToInt(text -> text.length).toArray();
    }

    private static float[] logits(HeadedModel model, ForwardContext context, int[] tokens, ReadRows reads) {
        Tensor h = BlockRunner.plain().forward(model.model(), Tokens.of(tokens), reads, context);
        return Tensors.toFloats(model.head().forward(h, reads.packing(context), context));
    }

    private static float[] logits(HeadedModel model, @Nullable Adapter adapter) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(
                        Packing.of(lengths(TEXTS)), Arrays.asList(adapter, adapter, adapter))) {
            return logits(
                    model, context, joined(TEXTS), model == bert ? bert.head().reads() : ReadRows.TEXT);
        }
    }

    /** Behind the blocks of BERT, texts of different lengths in one batch, one of them without the adapter. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void bertIsItsFormula(boolean sharedGate) {
        try (PointerScope scope = new PointerScope();
                Adapter adapter = random(sharedGate ? CONFIG : TWO_GATES, bert);
                ForwardContext context =
                        ForwardContext.inference(Packing.of(lengths(TEXTS)), Arrays.asList(adapter, null, adapter))) {
            Tensor h = bert.model().embed(Tokens.of(joined(TEXTS)), context);
            float[] first = Tensors.toFloats(h);
            for (var block : bert.model().blocks()) {
                h = block.forward(h, ReadRows.ALL, context);
            }
            float[] last = Tensors.toFloats(h);
            UniPeltInDouble with = new UniPeltInDouble(bert, adapter);
            UniPeltInDouble without = new UniPeltInDouble(bert, null);
            for (int s = 0; s < TEXTS.length; s++) {
                int begin = (int) context.packing().begin(s);
                double[][] rows = rows(first, begin, TEXTS[s].length, 32);
                double[][] expected = (s == 1 ? without : with).bert(rows);
                assertClose(rows(last, begin, TEXTS[s].length, 32), expected, "text " + s);
            }
        }
    }

    /** Logits of a language model. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void llamaIsItsFormula(boolean sharedGate) {
        try (Adapter adapter = random(sharedGate ? CONFIG : TWO_GATES, llama)) {
            float[] is = logits(llama, adapter);
            for (int s = 0; s < TEXTS.length; s++) {
                int begin =
                        Arrays.stream(TEXTS, 0, s).mapToInt(text -> text.length).sum();
                double[][] expected = new UniPeltInDouble(llama, adapter).llama(TEXTS[s]);
                assertClose(rows(is, begin, TEXTS[s].length, 200), expected, "text " + s);
            }
        }
    }

    /** The rows that are read are gated by all: the last block computes every row, and one text is what it is in a batch. */
    @Test
    void oneReadRowIsGatedByAllOfItsText() {
        try (Adapter adapter = random(CONFIG, llama)) {
            for (int[] text : TEXTS) {
                try (PointerScope scope = new PointerScope();
                        ForwardContext context = ForwardContext.inference(Packing.of(text.length), adapter)) {
                    float[] last = logits(llama, context, text, ReadRows.last(1));
                    double[][] expected = new UniPeltInDouble(llama, adapter).llama(text);
                    assertClose(
                            rows(last, 0, 1, 200), new double[][] {expected[text.length - 1]}, Arrays.toString(text));
                }
            }
        }
    }

    /** With a cache each call's gates are of its rows: of the prompt, then of one token, those of the prefix too. */
    @Test
    void aCallThatGoesOnIsGatedByItsOwnRows() {
        int[][] calls = {joined(TEXTS), {7, 8, 9}, {41, 3, 55}};
        try (Adapter adapter = random(TWO_GATES, llama)) {
            List<@Nullable Adapter> adapterOf = Arrays.asList(adapter, null, adapter);
            RowsInOrder cache = new RowsInOrder(3, 2, 2, 8);
            List<UniPeltInDouble> references = adapterOf.stream()
                    .map(own -> new UniPeltInDouble(llama, own))
                    .toList();
            for (int c = 0; c < calls.length; c++) {
                int[] counts = c == 0 ? lengths(TEXTS) : new int[] {1, 1, 1};
                try (PointerScope scope = new PointerScope();
                        var noGrad = new org.bytedeco.pytorch.NoGradGuard();
                        ForwardContext context = ForwardContext.continued(Packing.of(counts), adapterOf, cache, null)) {
                    cache.begin(counts);
                    float[] is = logits(llama, context, calls[c], ReadRows.last(1));
                    cache.end();
                    int begin = 0;
                    for (int s = 0; s < 3; s++) {
                        double[][] expected =
                                references.get(s).llama(Arrays.copyOfRange(calls[c], begin, begin + counts[s]));
                        assertClose(
                                rows(is, s, 1, 200),
                                new double[][] {expected[counts[s] - 1]},
                                "call " + c + ", text " + s);
                        begin += counts[s];
                    }
                }
            }
        }
    }

    /** Greedy text of the engine, whose cache has blocks, alone and beside others. */
    @Test
    void writtenTextsDoNotDependOnTheBatch() {
        try (Adapter adapter = random(CONFIG, llama)) {
            Generator generator = new Generator(llama.model(), (LanguageHead) llama.head());
            List<Prompt> prompts = new ArrayList<>();
            for (int s = 0; s < TEXTS.length; s++) {
                prompts.add(new Prompt(TEXTS[s], s == 1 ? null : adapter, s));
            }
            GenerationSettings settings = new GenerationSettings(6, Sampling.GREEDY, List.of(), List.of());
            var together = generator.generate(prompts, settings, null, GenerationListener.NONE);
            for (int s = 0; s < TEXTS.length; s++) {
                var alone = generator.generate(List.of(prompts.get(s)), settings, null, GenerationListener.NONE);
                assertThat(alone.get(0).ids()).isEqualTo(together.get(s).ids());
                UniPeltInDouble reference = new UniPeltInDouble(llama, s == 1 ? null : adapter);
                double[][] rows = reference.llama(TEXTS[s]);
                for (int token : together.get(s).ids()) {
                    double[] row = rows[rows.length - 1];
                    assertThat(row[token])
                            .isGreaterThan(Arrays.stream(row).max().orElseThrow() - 1e-3);
                    rows = reference.llama(token);
                }
            }
        }
    }

    /**
     * With gates that are the same for every text a cache changes nothing: of models with windows, too, which never hide a prefix, beside
     * a ready prefix and the plain model in one batch.
     */
    @ParameterizedTest
    @ValueSource(strings = {"mistral", "gemma2", "gpt2", "qwen3"})
    void theCacheHasNoPrefixAndMissesNone(String name) throws Exception {
        try (HeadedModel model = HeadedModel.open(
                        ModelDirectory.open(Fixtures.ROOT.resolve("decoders").resolve(name)),
                        new ModelOptions(false, false, 0),
                        HeadKind.LANGUAGE,
                        HeadOptions.of(0));
                Adapter gated = random(TWO_GATES, model);
                Adapter ready = Methods.of(PrefixConfig.of(3)).attach("ready", PrefixConfig.of(3), model.points(), 1)) {
            setGates(gated, 1);
            assertThat(gated.prefix()).as("keys in the cache").isZero();
            List<@Nullable Adapter> adapterOf = Arrays.asList(gated, ready, null, gated);
            List<Prompt> prompts = new ArrayList<>();
            int[][] texts = {TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[2]};
            for (int s = 0; s < texts.length; s++) {
                prompts.add(new Prompt(texts[s], adapterOf.get(s), s));
            }
            var written = new Generator(model.model(), (LanguageHead) model.head())
                    .generate(
                            prompts,
                            new GenerationSettings(8, Sampling.GREEDY, List.of(), List.of()),
                            null,
                            GenerationListener.NONE);
            for (int s = 0; s < texts.length; s++) {
                int[] text = texts[s];
                for (int token : written.get(s).ids()) {
                    try (PointerScope scope = new PointerScope();
                            ForwardContext context = ForwardContext.inference(
                                    Packing.of(text.length), Arrays.asList(adapterOf.get(s)))) {
                        float[] row = logits(model, context, text, ReadRows.last(1));
                        double best = IntStream.range(0, row.length)
                                .mapToDouble(i -> row[i])
                                .max()
                                .orElseThrow();
                        assertThat((double) row[token])
                                .as("text %s, token %s", s, text.length)
                                .isGreaterThan(best - 1e-3);
                    }
                    text = Arrays.copyOf(text, text.length + 1);
                    text[text.length - 1] = token;
                }
            }
        }
    }

    @Test
    void gatesOfOneLeaveThePartsAsTheyAre() {
        for (HeadedModel model : List.of(bert, llama)) {
            try (Adapter gated = random(TWO_GATES, model);
                    Adapter plain = random(CONFIG.toBuilder().gate(false).build(), model)) {
                plain.parameters()
                        .forEach((path, parameter) ->
                                gated.parameters().get(path).set(Tensors.toFloats(parameter.value())));
                assertThat(maxDifference(logits(model, gated), logits(model, plain)))
                        .isGreaterThan(1e-2);
                setGates(gated, 40);
                assertThat(maxDifference(logits(model, gated), logits(model, plain)))
                        .isLessThan(1e-5);
                setGates(gated, -200);
                float[] base = logits(model, null);
                if (model == bert) { // whose positions a prefix does not move; keys of zeros are still keys
                    assertThat(maxDifference(logits(model, gated), base)).isGreaterThan(1e-4);
                }
            }
            BottleneckConfig withoutPrefix = CONFIG.toBuilder().prefix(null).build();
            try (Adapter closed = random(withoutPrefix, model)) {
                setGates(closed, -200);
                assertThat(maxDifference(logits(model, closed), logits(model, null)))
                        .isLessThan(1e-5);
            }
        }
    }

    private static void setGates(Adapter adapter, float bias) {
        adapter.parameters().forEach((path, parameter) -> {
            if (parameter.group().equals("gate")) {
                float[] values = new float[(int) parameter.elements()];
                Arrays.fill(values, path.endsWith("bias") ? bias : 0);
                parameter.set(values);
            }
        });
    }

    /** Each gate by itself, against a difference of the model's outputs. */
    @Test
    void gradientsOfGatesEqualDifferences() {
        for (HeadedModel model : List.of(bert, llama)) {
            try (Adapter adapter = random(TWO_GATES, model)) {
                try (PointerScope scope = new PointerScope();
                        ForwardContext context = ForwardContext.training(Packing.of(lengths(TEXTS)), 1, adapter)) {
                    ReadRows reads = model == bert ? bert.head().reads() : ReadRows.TEXT;
                    Tensor h = BlockRunner.plain().forward(model.model(), Tokens.of(joined(TEXTS)), reads, context);
                    model.head()
                            .forward(h, reads.packing(context), context)
                            .sum()
                            .backward();
                    context.backward();
                }
                for (Parameter gate : adapter.parameters().values()) {
                    if (gate.group().equals("gate") && gate.path().endsWith("bias")) {
                        float[] values = Tensors.toFloats(gate.value());
                        double eps = 1e-2;
                        double slope = sum(Tensors.toFloats(gate.value().grad()));
                        double difference = (shifted(model, adapter, gate, values, eps)
                                        - shifted(model, adapter, gate, values, -eps))
                                / (2 * eps);
                        gate.set(values);
                        assertThat(difference).as(gate.path()).isCloseTo(slope, within(0.02 * Math.abs(slope) + 0.05));
                    }
                }
            }
        }
    }

    private static double shifted(HeadedModel model, Adapter adapter, Parameter gate, float[] values, double by) {
        float[] moved = values.clone();
        for (int i = 0; i < moved.length; i++) {
            moved[i] += (float) by;
        }
        gate.set(moved);
        return sum(logits(model, adapter));
    }

    private static double sum(float[] values) {
        return IntStream.range(0, values.length).mapToDouble(i -> values[i]).sum();
    }

    /** Stochastic depth takes whole texts' updates away while training, and what is left is larger. */
    @Test
    void stochasticDepthLeavesTextsAway() {
        BottleneckConfig config = BottleneckConfig.adapterPlus().toBuilder()
                .reductionFactor(ReductionFactor.of(4))
                .leaveOut(List.of(0, 1))
                .stochasticDepth(0.5)
                .build();
        BottleneckConfig never = config.toBuilder().stochasticDepth(0).build();
        int[] lengths = new int[24];
        Arrays.fill(lengths, 3);
        int[] tokens = new int[72];
        Arrays.setAll(tokens, i -> 5 + i % 3);
        try (PointerScope scope = new PointerScope();
                Adapter one = random(config, bert);
                Adapter other = random(never, bert);
                ForwardContext thinned = ForwardContext.training(Packing.of(lengths), 4, one);
                ForwardContext same = ForwardContext.inference(Packing.of(lengths), one);
                ForwardContext whole = ForwardContext.inference(Packing.of(lengths), other);
                ForwardContext none = ForwardContext.inference(Packing.of(lengths))) {
            ReadRows all = ReadRows.ALL;
            float[] y = hidden(tokens, all, thinned);
            assertThat(hidden(tokens, all, same)).isEqualTo(hidden(tokens, all, whole));
            float[] adapted = hidden(tokens, all, whole);
            float[] plain = hidden(tokens, all, none);
            int away = 0;
            for (int s = 0; s < lengths.length; s++) {
                double share = 0;
                double most = 0;
                for (int i = s * 96; i < (s + 1) * 96; i++) {
                    double u = adapted[i] - plain[i];
                    if (Math.abs(u) > most) {
                        most = Math.abs(u);
                        share = (y[i] - plain[i]) / u;
                    }
                }
                away += share < 1e-3 ? 1 : 0;
                assertThat(Math.min(Math.abs(share), Math.abs(share - 2)))
                        .as("text " + s)
                        .isLessThan(1e-3);
            }
            assertThat(away).isBetween(4, 20);
        }
    }

    private static float[] hidden(int[] tokens, ReadRows rows, ForwardContext context) {
        return Tensors.toFloats(BlockRunner.plain().forward(bert.model(), Tokens.of(tokens), rows, context));
    }

    @Test
    void whatDoesNotFitIsRefused() {
        refuses(new BottleneckLora(2, 0, Targets.names("qeury")), "lora.targets");
        refuses(new BottleneckLora(2, 0, Targets.names("classifier")), "lora.targets must be linear layers of blocks");
        refuses(new BottleneckLora(2, 0, Targets.names("word_embeddings")), "lora.targets");
        assertThatThrownBy(() -> CONFIG.toBuilder()
                        .gate(false)
                        .prefix(new BottleneckPrefix(2, 2, false))
                        .build())
                .hasMessageContaining("prefix must not have shared_gate: false without gate");
        assertThat(Methods.mergeRefusal(CONFIG))
                .hasValueSatisfying(reason -> assertThat(reason).contains("its gates are made of each text"));
    }

    private static void refuses(BottleneckLora lora, String message) {
        BottleneckConfig config = CONFIG.toBuilder().lora(lora).build();
        assertThatThrownBy(() -> Methods.of(config)
                        .attach("it", config, bert.points(), 1)
                        .close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith(message);
    }

    private static double[][] rows(float[] values, int first, int n, int width) {
        double[][] rows = new double[n][width];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < width; j++) {
                rows[i][j] = values[(first + i) * width + j];
            }
        }
        return rows;
    }

    private static void assertClose(double[][] is, double[][] expected, String what) {
        double largest = Arrays.stream(expected)
                .flatMapToDouble(Arrays::stream)
                .map(Math::abs)
                .max()
                .orElse(0);
        for (int t = 0; t < expected.length; t++) {
            for (int i = 0; i < expected[t].length; i++) {
                assertThat(is[t][i])
                        .as("%s, row %s, element %s", what, t, i)
                        .isCloseTo(expected[t][i], within(1e-4 * (1 + largest)));
            }
        }
    }

    /** A cache of one block for each sequence. */
    private static final class RowsInOrder implements KeyValueCache {
        private static final int ROOM = 24;

        private final Tensor[] keys;
        private final Tensor[] values;
        private final int[] lengths;
        private int[] counts = {};
        private boolean filled;

        RowsInOrder(int sequences, int layers, int heads, int headSize) {
            keys = new Tensor[layers];
            values = new Tensor[layers];
            for (int i = 0; i < layers; i++) {
                keys[i] = torch.zeros(sequences, ROOM, heads, headSize);
                values[i] = torch.zeros(sequences, ROOM, heads, headSize);
            }
            lengths = new int[sequences];
        }

        void begin(int... rows) {
            counts = rows;
        }

        void end() {
            for (int s = 0; s < counts.length; s++) {
                lengths[s] += counts[s];
            }
            filled = true;
        }

        @Override
        public boolean filled() {
            return filled;
        }

        @Override
        public int length(int sequence) {
            return lengths[sequence];
        }

        @Override
        public void write(int layer, Tensor k, Tensor v) {
            int begin = 0;
            for (int s = 0; s < counts.length; s++) {
                keys[layer].select(0, s).narrow(0, lengths[s], counts[s]).copy_(k.narrow(0, begin, counts[s]));
                values[layer].select(0, s).narrow(0, lengths[s], counts[s]).copy_(v.narrow(0, begin, counts[s]));
                begin += counts[s];
            }
        }

        @Override
        public void writePrefix(int layer, int sequence, Tensor k, Tensor v) {
            throw new AssertionError("gated keys are made in each call");
        }

        @Override
        public Rows read(int layer) {
            int[] all = new int[counts.length];
            Arrays.setAll(all, s -> lengths[s] + counts[s]);
            Tensor table = Tensors.ofInts(
                    org.peft4j.ops.Device.CPU, IntStream.range(0, all.length).toArray());
            return new Rows(
                    keys[layer],
                    values[layer],
                    Packing.of(all),
                    table.to(torch.ScalarType.Int).view(all.length, 1));
        }
    }
}
