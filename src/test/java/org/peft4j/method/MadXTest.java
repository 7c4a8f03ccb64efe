package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckConfig.Activation;
import org.peft4j.method.bottleneck.InvertibleAdapter;
import org.peft4j.method.bottleneck.InvertibleAdapter.InvAdapter;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.spi.AdapterStore;
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
import org.peft4j.nn.seam.EmbeddedUpdate;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.SublayerUpdate;

/** Invertible adapters against their formula, alone and in language models, and task adapters stacked on language adapters. */
class MadXTest extends WithTinyBert {
    private static final int[] TOKENS = {5, 49, 40, 8, 33, 9, 21, 4, 38};
    private static final int[] LENGTHS = {4, 5};

    @TempDir
    Path directory;

    private static Points points(long width, boolean front) {
        List<Point<?>> points = new ArrayList<>();
        points.add(new SublayerPoint("block.0.output", 0, SublayerPoint.Kind.MLP, width, true));
        if (front) {
            points.add(new SequencePoint("embeddings", new EmbeddingPoint("words", 50, width, true, false), 1));
        }
        return new Points("small", "Small", width, 1, 2, List.of(), List.of(), Map.of(), List.of()).and(points);
    }

    private static BottleneckConfig nice(double factor, Activation activation) {
        return BottleneckConfig.seqBn().toBuilder()
                .reductionFactor(org.peft4j.method.bottleneck.ReductionFactor.of(2))
                .activation(activation)
                .invertible(new InvertibleAdapter(InvAdapter.NICE, factor))
                .build();
    }

    private static Adapter attach(BottleneckConfig config, Points points) {
        return Methods.of(config).attach("a", config, points, 7);
    }

    /** With noise on everything. */
    private static Adapter random(BottleneckConfig config, Points points, int seed) {
        Adapter adapter = attach(config, points);
        try (PointerScope scope = new PointerScope()) {
            for (Parameter parameter : adapter.parameters().values()) {
                Tensor noise = Init.normal(seed, parameter.path(), 0.3, parameter.shape());
                parameter.set(Tensors.toFloats(parameter.value().add(noise)));
            }
        }
        return adapter;
    }

    private static EmbeddedUpdate update(Adapter adapter) {
        return (EmbeddedUpdate) adapter.claims(SequencePoint.class).values().iterator().next().stream()
                .filter(EmbeddedUpdate.class::isInstance)
                .findFirst()
                .orElseThrow();
    }

    // The formula in double.

    private static double[] linear(Map<String, Parameter> all, String layer, double[] x) {
        float[] w = Tensors.toFloats(all.get(layer + ".weight").value());
        float[] b = Tensors.toFloats(all.get(layer + ".bias").value());
        double[] y = new double[b.length];
        for (int o = 0; o < y.length; o++) {
            y[o] = b[o];
            for (int i = 0; i < x.length; i++) {
                y[o] += (double) w[o * x.length + i] * x[i];
            }
        }
        return y;
    }

    private static double[] network(Map<String, Parameter> all, String name, Activation activation, double[] x) {
        String path = "invertible_adapters." + name;
        double[] inner = linear(all, path + ".0", x);
        for (int i = 0; i < inner.length; i++) {
            double v = inner[i];
            inner[i] = switch (activation) {
                case RELU -> Math.max(0, v);
                case SWISH -> v / (1 + Math.exp(-v));
                case TANH -> Math.tanh(v);
                default -> throw new IllegalArgumentException();
            };
        }
        return linear(all, path + ".2", inner);
    }

    /** Both halves, as {@code x1 + f} and so on with the sign. */
    private static float[] coupled(Adapter adapter, Activation activation, float[] rows, int width, boolean forward) {
        float[] made = new float[rows.length];
        int half = width / 2;
        Map<String, Parameter> all = adapter.parameters();
        for (int r = 0; r < rows.length; r += width) {
            double[] first = new double[half];
            double[] second = new double[half];
            for (int i = 0; i < half; i++) {
                first[i] = rows[r + i];
                second[i] = rows[r + half + i];
            }
            double sign = forward ? 1 : -1;
            if (forward) {
                add(first, network(all, "F", activation, second), sign);
                add(second, network(all, "G", activation, first), sign);
            } else {
                add(second, network(all, "G", activation, first), sign);
                add(first, network(all, "F", activation, second), sign);
            }
            for (int i = 0; i < half; i++) {
                made[r + i] = (float) first[i];
                made[r + half + i] = (float) second[i];
            }
        }
        return made;
    }

    private static void add(double[] to, double[] what, double sign) {
        for (int i = 0; i < to.length; i++) {
            to[i] += sign * what[i];
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = Activation.class,
            names = {"RELU", "SWISH", "TANH"})
    void niceIsItsFormulaAndItsInverse(Activation activation) {
        try (PointerScope scope = new PointerScope();
                Adapter adapter = random(nice(3, activation), points(14, true), 3);
                ForwardContext context = ForwardContext.inference(Packing.of(5), adapter)) {
            assertThat(adapter.parameters()
                            .get("invertible_adapters.F.0.weight")
                            .shape())
                    .containsExactly(2, 7); // floor(7 / 3)
            Tensor x = Init.normal(1, "x", 1, 5, 14);
            Tensor y = update(adapter).forward(x, context);
            float[] rows = Tensors.toFloats(x);
            assertThat(maxDifference(Tensors.toFloats(y), coupled(adapter, activation, rows, 14, true)))
                    .isLessThan(1e-5);
            assertThat(maxDifference(
                            Tensors.toFloats(update(adapter).inverse(x, context)),
                            coupled(adapter, activation, rows, 14, false)))
                    .isLessThan(1e-5);
            assertThat(maxDifference(Tensors.toFloats(update(adapter).inverse(y, context)), rows))
                    .isLessThan(1e-6);
        }
    }

    @Test
    void aRationalActivationAndTheOthersHaveTheirInverse() {
        for (Activation activation : Activation.values()) {
            try (PointerScope scope = new PointerScope();
                    Adapter adapter = random(nice(1, activation), points(8, true), 5);
                    ForwardContext context = ForwardContext.inference(Packing.of(3), adapter)) {
                Tensor x = Init.normal(1, "x", 0.5, 3, 8);
                Tensor there = update(adapter).forward(x, context);
                assertThat(maxDifference(Tensors.toFloats(there), Tensors.toFloats(x)))
                        .isGreaterThan(0.1);
                assertThat(maxDifference(
                                Tensors.toFloats(update(adapter).inverse(there, context)), Tensors.toFloats(x)))
                        .isLessThan(1e-6);
            }
        }
    }

    /** Weights of F and G begin as N(0, 0.02²), biases with 0: nearly, but not exactly, no change. */
    @Test
    void itBeginsNearlyAsNoChange() {
        BottleneckConfig config = BottleneckConfig.seqBnInv().toBuilder()
                .init(org.peft4j.method.bottleneck.InitBottleneck.MAM_ADAPTER) // of the bottlenecks alone
                .build();
        float[] base = logits(model);
        try (Adapter adapter = attach(config, model.points())) {
            assertThat(maxDifference(logits(model, adapter), base)).isBetween(1e-7, 1e-2);
            float[] weight = Tensors.toFloats(
                    adapter.parameters().get("invertible_adapters.G.2.weight").value());
            double squares = 0;
            for (float w : weight) {
                squares += w * w;
            }
            assertThat(Math.sqrt(squares / weight.length)).isCloseTo(0.02, within(0.005));
            adapter.parameters().forEach((path, parameter) -> {
                if (path.startsWith("invertible_adapters.")) {
                    parameter.set(new float[(int) parameter.elements()]);
                }
            });
            assertThat(logits(model, adapter)).isEqualTo(base);
        }
    }

    // Language models: rows behind the embeddings, plain blocks, rows before the head.

    private static HeadedModel language(String name) throws Exception {
        Path path = name.equals("llama") ? Fixtures.TINY_LLAMA : Fixtures.ROOT.resolve("decoders/" + name);
        return HeadedModel.open(
                ModelDirectory.open(path), new ModelOptions(false, false, 0), HeadKind.LANGUAGE, HeadOptions.of(0));
    }

    /** An invertible adapter whose bottlenecks add nothing. */
    private static Adapter invertibleAlone(HeadedModel of) {
        Adapter adapter = random(nice(2, Activation.TANH), of.points(), 9);
        adapter.parameters().forEach((path, parameter) -> {
            if (path.contains("adapter_up")) {
                parameter.set(new float[(int) parameter.elements()]);
            }
        });
        return adapter;
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama", "gpt2", "qwen3", "gemma2", "gemma3", "granite", "gpt_neox"})
    void aLanguageHeadSeesTheSpaceOfTheWords(String name) throws Exception {
        try (PointerScope scope = new PointerScope();
                HeadedModel llm = language(name);
                Adapter adapter = invertibleAlone(llm);
                ForwardContext plain = ForwardContext.inference(Packing.of(LENGTHS));
                ForwardContext context = ForwardContext.inference(Packing.of(LENGTHS), adapter)) {
            int width = (int) llm.points().hiddenSize();
            Tensor embedded = llm.model().embed(Tokens.of(TOKENS), plain);
            float[] there = coupled(adapter, Activation.TANH, Tensors.toFloats(embedded), width, true);
            Tensor h = Tensors.ofFloats(there, TOKENS.length, width);
            for (var block : llm.model().blocks()) {
                h = block.forward(h, ReadRows.ALL, plain);
            }
            Tensor finished = llm.model().finish(h, plain.packing(), plain);
            float[] back = coupled(adapter, Activation.TANH, Tensors.toFloats(finished), width, false);
            float[] expected = Tensors.toFloats(
                    llm.head().forward(Tensors.ofFloats(back, TOKENS.length, width), plain.packing(), plain));

            float[] is = Tensors.toFloats(llm.outputs(Tokens.of(TOKENS), context));
            assertThat(maxDifference(is, expected)).isLessThan(2e-4);
            float[] base = Tensors.toFloats(llm.outputs(Tokens.of(TOKENS), plain));
            assertThat(maxDifference(is, base)).isGreaterThan(1e-2);

            lossesAreThoseOfTheLogits(llm, context, is);
        }
    }

    /** The loss, which has no logits of all rows, reads the same rows. */
    private static void lossesAreThoseOfTheLogits(HeadedModel llm, ForwardContext context, float[] logits) {
        int vocabulary = logits.length / TOKENS.length;
        long[] labels = new long[TOKENS.length];
        for (int i = 0; i < labels.length; i++) {
            labels[i] = TOKENS[(i + 1) % TOKENS.length];
        }
        Tensor h = BlockRunner.plain().forward(llm.model(), Tokens.of(TOKENS), ReadRows.ALL, context);
        float[] losses = Tensors.toFloats(((LanguageHead) llm.head())
                .losses(h, Tensors.ofLongs(labels, labels.length), context.packing(), context));
        for (int t = 0; t < labels.length; t++) {
            double sum = 0;
            for (int v = 0; v < vocabulary; v++) {
                sum += Math.exp(logits[t * vocabulary + v]);
            }
            assertThat((double) losses[t])
                    .isCloseTo(Math.log(sum) - logits[t * vocabulary + (int) labels[t]], within(1e-3));
        }
    }

    /** Along their own direction, gradients that came through the embeddings and through the head are what the loss changes by. */
    @ParameterizedTest
    @ValueSource(strings = {"llama", "gemma2"})
    void gradientsGoThroughThereAndBack(String name) throws Exception {
        try (HeadedModel llm = language(name);
                Adapter adapter = random(nice(2, Activation.TANH), llm.points(), 9)) {
            loss(llm, adapter, true);
            for (String path : List.of(
                    "invertible_adapters.F.0.weight",
                    "invertible_adapters.G.2.weight",
                    "invertible_adapters.F.2.bias",
                    "invertible_adapters.G.0.bias")) {
                Parameter parameter = adapter.parameters().get(path);
                float[] values = Tensors.toFloats(parameter.value());
                float[] gradient = Tensors.toFloats(parameter.value().grad());
                double norm = 0;
                for (float g : gradient) {
                    norm += (double) g * g;
                }
                norm = Math.sqrt(norm);
                double step = 1e-2;
                float[] up = values.clone();
                float[] down = values.clone();
                for (int i = 0; i < values.length; i++) {
                    up[i] += (float) (step * gradient[i] / norm);
                    down[i] -= (float) (step * gradient[i] / norm);
                }
                parameter.set(up);
                double above = loss(llm, adapter, false);
                parameter.set(down);
                double below = loss(llm, adapter, false);
                parameter.set(values);
                assertThat((above - below) / (2 * step)).as(path).isCloseTo(norm, within(2e-2 * norm));
            }
        }
    }

    private static double loss(HeadedModel llm, Adapter adapter, boolean backward) {
        long[] labels =
                Arrays.stream(TOKENS).mapToLong(token -> (token * 7) % 50).toArray();
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(Packing.of(LENGTHS), 1, adapter)) {
            BlockRunner blocks = BlockRunner.plain();
            Tensor h = blocks.forward(llm.model(), Tokens.of(TOKENS), ReadRows.ALL, context);
            Tensor loss = ((LanguageHead) llm.head())
                    .losses(h, Tensors.ofLongs(labels, labels.length), context.packing(), context)
                    .sum();
            if (backward) {
                blocks.backward(loss, context);
            }
            return loss.item_double();
        }
    }

    /** Rows of soft prompts are learned in the blocks' space: they go into the first block as they are. */
    @Test
    void insertedRowsStayAsTheyAre() throws Exception {
        PromptConfig prompt = PromptConfig.of(3);
        try (PointerScope scope = new PointerScope();
                HeadedModel llm = language("llama");
                Adapter invertible = invertibleAlone(llm);
                Adapter soft = Methods.of(prompt).attach("p", prompt, llm.points(), 1);
                ForwardContext both = ForwardContext.inference(Packing.of(LENGTHS), invertible, soft);
                ForwardContext softAlone = ForwardContext.inference(Packing.of(LENGTHS), soft)) {
            int width = (int) llm.points().hiddenSize();
            float[] plain = Tensors.toFloats(llm.model().embed(Tokens.of(TOKENS), softAlone));
            float[] made = Tensors.toFloats(llm.model().embed(Tokens.of(TOKENS), both));
            float[] coupled = coupled(invertible, Activation.TANH, plain, width, true);
            int row = 0;
            for (int s = 0; s < LENGTHS.length; s++) {
                for (int i = 0; i < 3 + LENGTHS[s]; i++, row++) {
                    float[] expected = i < 3 ? plain : coupled;
                    assertThat(maxDifference(
                                    Arrays.copyOfRange(made, row * width, (row + 1) * width),
                                    Arrays.copyOfRange(expected, row * width, (row + 1) * width)))
                            .as("row %s of text %s", i, s)
                            .isLessThan(i < 3 ? 1e-30 : 1e-5);
                }
            }
        }
    }

    @Test
    void ofABatchEachTextHasItsOwn() throws Exception {
        try (PointerScope scope = new PointerScope();
                HeadedModel llm = language("gpt2");
                Adapter one = random(nice(2, Activation.TANH), llm.points(), 9);
                Adapter other = random(nice(4, Activation.SWISH), llm.points(), 10);
                ForwardContext mixed = ForwardContext.inference(Packing.of(4, 4, 4), Arrays.asList(one, null, other))) {
            int[] text = Arrays.copyOf(TOKENS, 4);
            int[] three = new int[12];
            for (int i = 0; i < three.length; i++) {
                three[i] = text[i % 4];
            }
            float[] all = Tensors.toFloats(llm.outputs(Tokens.of(three), mixed));
            int each = all.length / 3;
            List<Adapter> adapters = Arrays.asList(one, null, other);
            for (int s = 0; s < 3; s++) {
                try (ForwardContext alone = ForwardContext.inference(
                        Packing.of(4), adapters.get(s) == null ? new Adapter[0] : new Adapter[] {adapters.get(s)})) {
                    assertThat(maxDifference(
                                    Arrays.copyOfRange(all, s * each, (s + 1) * each),
                                    Tensors.toFloats(llm.outputs(Tokens.of(text), alone))))
                            .isLessThan(1e-4);
                }
            }
        }
    }

    // Stacks.

    /** One adapter that does at each place what the first one does, and then the second: the definition of a stack. */
    private static Adapter inOne(Adapter first, Adapter second) {
        Adapter.Builder builder = Adapter.builder("both", org.peft4j.ops.Device.CPU);
        first.claims(SequencePoint.class).forEach((point, claims) -> claims.forEach(c -> builder.claim(point, c)));
        Map<String, SublayerPoint> places = new LinkedHashMap<>();
        first.claims(SublayerPoint.class).keySet().forEach(point -> places.put(point.path(), point));
        second.claims(SublayerPoint.class).keySet().forEach(point -> places.put(point.path(), point));
        places.values()
                .forEach(point -> builder.claim(point, (at, context) -> {
                    Tensor output = at.output();
                    for (Adapter adapter : List.of(first, second)) {
                        for (SublayerUpdate update : adapter.at(point)) {
                            output = update.apply(
                                    new SublayerUpdate.Sublayer(
                                            at.input(), output, at.residual(), at.norm(), at.rows()),
                                    context);
                        }
                    }
                    return output;
                }));
        return builder.build();
    }

    @Test
    void aTaskAdapterOnALanguageAdapterIsItsDefinitionAlsoOnAnother() {
        BottleneckConfig task = BottleneckConfig.doubleSeqBn();
        try (Adapter lang = random(nice(2, Activation.SWISH), model.points(), 1);
                Adapter lang2 = random(nice(2, Activation.SWISH), model.points(), 2);
                Adapter top = random(task, model.points(), 3)) {
            float[] stacked = logits(model, lang, top);
            float[] swapped = logits(model, lang2, top);
            assertThat(stacked).isEqualTo(logits(model, inOne(lang, top)));
            assertThat(swapped).isEqualTo(logits(model, inOne(lang2, top)));
            assertThat(maxDifference(stacked, swapped)).isGreaterThan(1e-3);
            assertThat(maxDifference(stacked, logits(model, top))).isGreaterThan(1e-3);
            assertThat(maxDifference(stacked, logits(model, top, lang)))
                    .as("order")
                    .isGreaterThan(1e-4);
        }
    }

    @Test
    void aTaskAdapterThatAddsNothingLeavesTheLanguageAdapter() {
        BottleneckConfig task = BottleneckConfig.seqBn().toBuilder()
                .init(org.peft4j.method.bottleneck.InitBottleneck.MAM_ADAPTER)
                .build();
        try (Adapter lang = random(nice(2, Activation.SWISH), model.points(), 1);
                Adapter top = attach(task, model.points())) {
            assertThat(logits(model, lang, top)).isEqualTo(logits(model, lang));
        }
    }

    @Test
    void ofAStackTheFirstInvertibleAdapterAloneActs() throws Exception {
        try (Adapter lang = random(nice(2, Activation.SWISH), model.points(), 1);
                Adapter other = random(nice(2, Activation.SWISH), model.points(), 2)) {
            assertThatThrownBy(() -> logits(model, lang, other))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("both have an invertible adapter: of a stack the first one's alone acts");
            List<Adapter> stack = Adapter.stack(List.of(lang, other));
            assertThat(stack.get(0)).isSameAs(lang);
            assertThat(Adapter.stack(List.of(lang, other))).isEqualTo(stack);
            float[] stacked = logits(model, stack.toArray(Adapter[]::new));
            try (Adapter upper = other.only(point -> !(point instanceof SequencePoint))) {
                assertThat(stacked).isEqualTo(logits(model, inOne(lang, upper)));
            }
        }
    }

    @Test
    void itsFileHasItBesideTheBottlenecks() throws Exception {
        BottleneckConfig config = BottleneckConfig.seqBnInv();
        try (Adapter adapter = attach(config, model.points())) {
            AdapterStore.write(directory, adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
        }
        var file = AdapterFiles.read(directory);
        assertThat(file.config())
                .containsEntry("inv_adapter", "nice")
                .containsEntry("inv_adapter_reduction_factor", 2.0);
        assertThat(file.tensors().keySet())
                .contains(
                        "invertible_adapters.F.0.weight",
                        "invertible_adapters.F.0.bias",
                        "invertible_adapters.F.2.weight",
                        "invertible_adapters.F.2.bias",
                        "invertible_adapters.G.0.weight",
                        "invertible_adapters.G.2.bias");
        assertThat(file.tensors().get("invertible_adapters.F.0.weight").shape()).containsExactly(8L, 16L);
    }

    @Test
    void whatCannotBeIsRefused() {
        assertThatThrownBy(() -> attach(nice(2, Activation.RELU), points(7, true)))
                .hasMessageContaining(
                        "inv_adapter: nice couples two halves of a row, so that the width of embeddings must be even, is 7");
        assertThatThrownBy(() -> attach(nice(5, Activation.RELU), points(8, true)))
                .hasMessageContaining(
                        "inv_adapter_reduction_factor: must be at most 4, half of the width of embeddings");
        assertThatThrownBy(() -> attach(nice(2, Activation.RELU), points(8, false)))
                .hasMessageContaining("a model of the type small offers 0 such places");
        assertThatThrownBy(() -> new InvertibleAdapter(InvAdapter.NICE, Double.NaN))
                .hasMessageContaining("invAdapterReductionFactor must be at least 1");
        assertThat(Methods.mergeRefusal(BottleneckConfig.seqBnInv())).isPresent();
    }
}
