package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.params.provider.Arguments.arguments;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.DoubleUnaryOperator;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.method.bottleneck.OriginalNorms;
import org.peft4j.method.bottleneck.OriginalNorms.Residual;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.bottleneck.Scaling;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Init;
import org.peft4j.nn.LayerNorm;
import org.peft4j.nn.Sublayer;
import org.peft4j.nn.SublayerSum;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.StepHook;
import org.peft4j.nn.seam.SublayerAddition;
import org.peft4j.nn.seam.SublayerFusion;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.SublayerUpdate;

/** AdapterFusion: its formula in double, what it is of one expert, its penalty, its files, what it refuses. */
class FusionTest extends WithTinyBert {
    private static final int D = 8;
    private static final int ROWS = 3;
    private static final double EPS = 1e-5;
    private static final String PATH = "block.0.output";

    @TempDir
    Path dir;

    private static Map<String, Path> experts() {
        return FusionExpertsOf.model(Fixtures.tinyBert().directory(), HeadKind.SEQUENCE, BottleneckConfig.seqBn());
    }

    private static FusionConfig.Builder of(int n) {
        return FusionConfig.builder().adapters(XLoraExperts.first(experts(), n));
    }

    private static FusionConfig.Builder withoutValue(int n) {
        return of(n).value(false).regularization(false);
    }

    private static List<AdapterStore.Loaded> inside(Adapter adapter) {
        return Methods.of(FusionConfig.defaults()).inside(adapter);
    }

    private Adapter attach(FusionConfig config) {
        return Methods.of(config).attach("fused", config, model.points(), 5);
    }

    static Stream<Arguments> formulas() {
        return Stream.of(
                        OriginalNorms.BOTH,
                        OriginalNorms.AFTER,
                        OriginalNorms.BEFORE,
                        new OriginalNorms(true, true, Residual.POST_ADD))
                .flatMap(norms -> Stream.of(true, false)
                        .flatMap(value -> Stream.of(
                                arguments(norms, true, value, false),
                                arguments(norms, false, value, false),
                                arguments(norms, value, value, true))));
    }

    /** Scores are far apart here, and W_v is no identity. */
    @ParameterizedTest(name = "{0}, norm behind {1}, W_v {2}, query_before_ln {3}")
    @MethodSource("formulas")
    void itIsItsFormula(OriginalNorms norms, boolean behind, boolean value, boolean beforeLn) throws Exception {
        SublayerPoint point = new SublayerPoint(PATH, 0, SublayerPoint.Kind.MLP, D, behind);
        Points points =
                new Points("small", "Small", D, 1, 2, List.of(), List.of(), Map.of(), List.of()).and(List.of(point));
        Map<String, Path> experts =
                FusionExpertsOf.in(dir, BottleneckConfig.builder().norms(norms).build(), points);
        FusionConfig config = new FusionConfig(experts, value, value, beforeLn, 0.5, List.of());
        try (PointerScope scope = new PointerScope();
                Adapter adapter = Methods.of(config).attach("fused", config, points, 7);
                ForwardContext context = ForwardContext.inference(Packing.of(2, 1), adapter)) {
            adapter.parameters()
                    .values()
                    .forEach(parameter -> parameter.set(Tensors.toFloats(
                            parameter.value().add(Init.normal(3, parameter.path(), 0.5, parameter.shape())))));
            Tensor h = Init.normal(1, "h", 1, ROWS, D);
            Tensor x = Init.normal(1, "x", 1, ROWS, D);
            Tensor w = Init.normal(1, "norm", 1, D);
            Tensor b = Init.normal(1, "bias", 1, D);
            Tensor made = behind
                    ? new Sublayer(point, new LayerNorm(PATH + ".LayerNorm", w, b, EPS))
                            .forward(x, h, x, context.packing(), context, 0)
                    : new SublayerSum(point, null, 1, 0)
                            .forward(() -> x, h, x, context.packing(), context)
                            .add(x);
            UnaryOperator<double[]> norm = behind ? row -> normed(row, doubles(w), doubles(b)) : row -> row;
            Map<String, double[]> own = new LinkedHashMap<>();
            adapter.parameters().forEach((path, parameter) -> own.put(path, doubles(parameter.value())));
            float[] is = Tensors.toFloats(made);
            for (int t = 0; t < ROWS; t++) {
                double[] expected =
                        block(norms, own, experts, beforeLn, doubles(h.select(0, t)), doubles(x.select(0, t)), norm);
                for (int i = 0; i < D; i++) {
                    assertThat((double) is[t * D + i])
                            .as("row %s, element %s", t, i)
                            .isCloseTo(expected[i], within(1e-4));
                }
            }
        }
    }

    /** What the block has behind the sublayer, of keys and values that are made one by one. */
    private static double[] block(
            OriginalNorms norms,
            Map<String, double[]> own,
            Map<String, Path> experts,
            boolean beforeLn,
            double[] h,
            double[] x,
            UnaryOperator<double[]> norm)
            throws Exception {
        double[] sum = plus(h, x);
        double[] r = norms.originalLnBefore() ? norm.apply(sum) : h;
        double[] q = linear(own, PATH + ".adapter_fusion_layer.query", beforeLn ? h : r);
        List<double[]> values = new ArrayList<>();
        List<Double> scores = new ArrayList<>();
        for (Path expert : experts.values()) {
            double[] u = up(expert, r);
            double[] k = linear(own, PATH + ".adapter_fusion_layer.key", u);
            double score = 0;
            for (int i = 0; i < D; i++) {
                score += q[i] * k[i];
            }
            scores.add(score);
            boolean whole = own.containsKey(PATH + ".adapter_fusion_layer.value.weight");
            values.add(whole ? linear(own, PATH + ".adapter_fusion_layer.value", u) : u);
        }
        double all = scores.stream().mapToDouble(Math::exp).sum();
        double[] y = switch (norms.residualBeforeLn()) {
            case OUTPUT -> h.clone();
            case INPUT -> r.clone();
            case POST_ADD -> sum.clone();
        };
        for (int a = 0; a < values.size(); a++) {
            for (int i = 0; i < D; i++) {
                y[i] += Math.exp(scores.get(a)) / all * values.get(a)[i];
            }
        }
        return norms.originalLnAfter() ? norm.apply(plus(y, x)) : y;
    }

    /** What an expert adds, by its files. */
    private static double[] up(Path expert, double[] r) throws Exception {
        AdapterFile file = AdapterFiles.read(expert);
        Map<String, double[]> values = new LinkedHashMap<>();
        file.tensors().forEach((name, data) -> values.put(name.substring("base_model.model.".length()), doubles(data)));
        DoubleUnaryOperator activation = switch (String.valueOf(file.config().get("activation"))) {
            case "swish" -> z -> z / (1 + Math.exp(-z));
            case "tanh" -> Math::tanh;
            case "gelu" -> z -> 0.5 * z * (1 + erf(z / Math.sqrt(2)));
            default -> throw new AssertionError(file.config());
        };
        double[] a = linear(values, PATH + ".adapter_down", r);
        for (int i = 0; i < a.length; i++) {
            a[i] = activation.applyAsDouble(a[i]);
        }
        double[] u = linear(values, PATH + ".adapter_up", a);
        double[] channel = values.get(PATH + ".adapter_scaling");
        for (int i = 0; i < u.length; i++) {
            u[i] *= channel == null ? ((Number) file.config().get("scaling")).doubleValue() : channel[i];
        }
        return u;
    }

    private static double[] linear(Map<String, double[]> values, String layer, double[] x) {
        double[] weight = values.get(layer + ".weight");
        double[] y = values.getOrDefault(layer + ".bias", new double[weight.length / x.length])
                .clone();
        for (int o = 0; o < y.length; o++) {
            for (int i = 0; i < x.length; i++) {
                y[o] += weight[o * x.length + i] * x[i];
            }
        }
        return y;
    }

    /** By its series. */
    private static double erf(double x) {
        double term = x;
        double sum = x;
        for (int n = 1; n < 80; n++) {
            term *= -x * x / n;
            sum += term / (2 * n + 1);
        }
        return 2 / Math.sqrt(Math.PI) * sum;
    }

    private static double[] normed(double[] row, double[] weight, double[] bias) {
        double mean = 0;
        double squares = 0;
        for (double value : row) {
            mean += value / row.length;
        }
        for (double value : row) {
            squares += (value - mean) * (value - mean) / row.length;
        }
        double[] normed = new double[row.length];
        for (int i = 0; i < row.length; i++) {
            normed[i] = (row[i] - mean) / Math.sqrt(squares + EPS) * weight[i] + bias[i];
        }
        return normed;
    }

    private static double[] plus(double[] a, double[] b) {
        double[] sum = a.clone();
        for (int i = 0; i < sum.length; i++) {
            sum[i] += b[i];
        }
        return sum;
    }

    private static double[] doubles(Tensor t) {
        return doubles(Tensors.toFloats(t));
    }

    private static double[] doubles(TensorData data) {
        return doubles(data.toFloats());
    }

    private static double[] doubles(float[] floats) {
        double[] values = new double[floats.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = floats[i];
        }
        return values;
    }

    @Test
    void ofOneExpertItIsThatAdapter() throws Exception {
        for (BottleneckConfig like : List.of(
                BottleneckConfig.seqBn(),
                BottleneckConfig.doubleSeqBn(),
                BottleneckConfig.builder().norms(OriginalNorms.BEFORE).build())) {
            Map<String, Path> one = XLoraExperts.first(
                    FusionExpertsOf.model(Fixtures.tinyBert().directory(), HeadKind.SEQUENCE, like), 1);
            try (Adapter plain = attach(withoutValue(1).adapters(one).build());
                    Adapter near = attach(of(1).adapters(one).build());
                    Adapter expert = AdapterStore.read(one.get("mails"), "alone", model.points())
                            .adapter()) {
                float[] expected = logits(model, expert);
                assertThat(maxDifference(expected, logits(model))).isGreaterThan(1e-2);
                assertThat(maxDifference(logits(model, plain), expected)).isLessThan(1e-6);
                assertThat(maxDifference(logits(model, near), expected)).isLessThan(1e-4);
                near.parameters().forEach((path, parameter) -> {
                    if (path.endsWith("value.weight")) {
                        parameter.set(identity(32));
                    }
                });
                assertThat(maxDifference(logits(model, near), expected)).isLessThan(1e-6);
            }
        }
    }

    private static float[] identity(int n) {
        float[] identity = new float[n * n];
        for (int i = 0; i < n; i++) {
            identity[i * (n + 1)] = 1;
        }
        return identity;
    }

    @Test
    void itBeginsNearTheMean() {
        try (PointerScope scope = new PointerScope();
                Adapter adapter = attach(of(2).build())) {
            String layer = "bert.encoder.layer.1.output.adapter_fusion_layer.";
            assertThat(adapter.parameters().keySet().stream().filter(path -> path.startsWith(layer)))
                    .containsExactly(
                            layer + "query.weight",
                            layer + "query.bias",
                            layer + "key.weight",
                            layer + "key.bias",
                            layer + "value.weight");
            float[] value = Tensors.toFloats(
                    adapter.parameters().get(layer + "value.weight").value());
            for (int i = 0; i < value.length; i++) {
                assertThat(value[i]).isEqualTo(i % 33 == 0 ? 1f : 1e-6f);
            }
            assertThat(Tensors.toFloats(
                            adapter.parameters().get(layer + "query.weight").value()))
                    .isEqualTo(Tensors.toFloats(Init.normal(5, layer + "query.weight", 0.02, 32, 32)));
            assertThat(Tensors.toFloats(
                            adapter.parameters().get(layer + "key.bias").value()))
                    .containsOnly(0);
            assertThat(adapter.parameters().values())
                    .allMatch(parameter -> parameter.group().equals("fusion"));
        }
    }

    @Test
    void thePenaltyKeepsValuesNearTheIdentity() {
        try (PointerScope scope = new PointerScope();
                Adapter adapter = attach(of(2).build());
                Adapter without = attach(of(2).regularization(false).build());
                Adapter plain = attach(withoutValue(2).build())) {
            StepHook fusion = adapter.hooks().get(0);
            assertThat(fusion.penalty().orElseThrow().item_double())
                    .isCloseTo(3 * 0.01 * 32 * 31 * 1e-12, within(1e-15));
            double expected = 0;
            Map<String, float[]> values = new LinkedHashMap<>();
            for (Parameter parameter : adapter.parameters().values()) {
                if (parameter.path().endsWith("value.weight")) {
                    float[] w = Tensors.toFloats(Init.normal(3, parameter.path(), 0.5, 32, 32));
                    parameter.set(w);
                    values.put(parameter.path(), w);
                    for (int i = 0; i < w.length; i++) {
                        expected += 0.01 * Math.pow(w[i] - identity(32)[i], 2);
                    }
                }
            }
            Tensor penalty = fusion.penalty().orElseThrow();
            assertThat(penalty.item_double()).isCloseTo(expected, within(1e-4));
            penalty.backward();
            for (Parameter parameter : adapter.parameters().values()) {
                float[] w = values.get(parameter.path());
                if (w == null) {
                    assertThat(parameter.value().grad().defined())
                            .as(parameter.path())
                            .isFalse();
                    continue;
                }
                float[] gradient = Tensors.toFloats(parameter.value().grad());
                for (int i = 0; i < w.length; i++) {
                    assertThat((double) gradient[i]).isCloseTo(0.02 * (w[i] - identity(32)[i]), within(1e-6));
                }
            }
            assertThat(without.hooks().get(0).penalty()).isEmpty();
            assertThat(plain.hooks().get(0).penalty()).isEmpty();
        }
    }

    @Test
    void expertsStayFrozen() {
        try (PointerScope scope = new PointerScope();
                Adapter adapter =
                        attach(of(3).modulesToSave(List.of("classifier")).build());
                ForwardContext context = ForwardContext.training(sentences.packing(), 1, adapter)) {
            assertThat(adapter.parameters().keySet())
                    .hasSize(3 * 5 + 2)
                    .allMatch(path -> path.contains(".adapter_fusion_layer.") || path.startsWith("classifier."));
            model.outputs(Tokens.of(sentences.tokens()), context).sum().backward();
            context.backward();
            assertThat(adapter.parameters().values())
                    .allMatch(parameter -> parameter.value().grad().defined());
            inside(adapter)
                    .forEach(expert -> expert.adapter().parameters().forEach((path, parameter) -> {
                        assertThat(parameter.value().requires_grad()).as(path).isFalse();
                        assertThat(parameter.value().grad().defined()).as(path).isFalse();
                    }));
        }
    }

    /** Dropout of scores acts while training alone, that of experts never. */
    @Test
    void dropoutIsThatOfScores() {
        try (Adapter adapter = attach(of(3).build());
                Adapter dropped = attach(of(3).dropout(0.5).build())) {
            for (Adapter one : List.of(adapter, dropped)) { // scores that are not near to zero
                one.parameters().forEach((path, parameter) -> {
                    if (path.endsWith("query.bias")) {
                        parameter.set(Tensors.toFloats(Init.normal(1, path, 20, 32)));
                    }
                });
            }
            assertThat(training(adapter, 1)).isEqualTo(training(adapter, 2));
            assertThat(training(dropped, 1)).isNotEqualTo(training(dropped, 2)).isEqualTo(training(dropped, 1));
            assertThat(logits(model, dropped)).isEqualTo(logits(model, adapter));
        }
    }

    private float[] training(Adapter adapter, long seed) {
        try (HeadedModel still = still();
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(sentences.packing(), seed, adapter)) {
            return Tensors.toFloats(still.outputs(Tokens.of(sentences.tokens()), context));
        }
    }

    /** Without dropout of its own. */
    private static HeadedModel still() {
        try {
            return HeadedModel.open(
                    Fixtures.tinyBert(), new ModelOptions(false, false, 0), HeadKind.SEQUENCE, HeadOptions.of(2));
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** As a composition puts loaded adapters in place of those that the fusion was trained with. */
    @Test
    void othersMayStandInPlaceOfTheExperts() throws Exception {
        try (Adapter two = attach(of(2).build());
                Adapter alone = AdapterStore.read(experts().get("others"), "alone", model.points())
                        .adapter();
                Adapter after = Methods.of(BottleneckConfig.seqBn())
                        .attach("after", seqBn().norms(OriginalNorms.AFTER).build(), model.points(), 1)) {
            assertThat(SublayerFusion.namesOf(two)).containsExactly("mails", "reviews");
            assertThat(SublayerFusion.namesOf(alone)).isEmpty();
            Adapter.Builder mixed = Adapter.builder("mixed", model.points().device());
            for (Map.Entry<SublayerPoint, List<SublayerUpdate>> entry :
                    two.claims(SublayerPoint.class).entrySet()) {
                SublayerFusion mine = (SublayerFusion) entry.getValue().get(0);
                SublayerAddition other =
                        (SublayerAddition) alone.at(entry.getKey()).get(0);
                mixed.claim(entry.getKey(), mine.withExperts(List.of(other, other)));
                assertThatThrownBy(() -> mine.withExperts(List.of(other)))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessage("experts must be [mails, reviews], got 1");
                SublayerAddition elsewhere =
                        (SublayerAddition) after.at(entry.getKey()).get(0);
                for (List<SublayerAddition> wrong : List.of(List.of(other, elsewhere), List.of(elsewhere, elsewhere))) {
                    assertThatThrownBy(() -> mine.withExperts(wrong))
                            .isInstanceOf(IllegalArgumentException.class)
                            .hasMessageStartingWith("experts must read the same rows and be added to the same");
                }
            }
            try (Adapter replaced = mixed.build()) { // shares of two that are the same sum to 1
                assertThat(maxDifference(logits(model, replaced), logits(model, alone)))
                        .isLessThan(1e-4);
            }
        }
    }

    private Path written(FusionConfig config, Consumer<Adapter> change) throws Exception {
        try (Adapter adapter = attach(config)) {
            change.accept(adapter);
            AdapterStore.write(dir.resolve("written"), adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
        }
        return dir.resolve("written");
    }

    @Test
    void itsDirectoryHasTheExperts() throws Exception {
        FusionConfig config =
                of(3).queryBeforeLn(true).regularization(false).dropout(0.25).build();
        List<float[]> before = new ArrayList<>();
        Path there = written(config, adapter -> {
            adapter.parameters()
                    .values()
                    .forEach(parameter ->
                            parameter.set(Tensors.toFloats(Init.normal(4, parameter.path(), 0.3, parameter.shape()))));
            before.add(logits(model, adapter));
        });
        Path moved = java.nio.file.Files.move(there, dir.resolve("moved"));
        AdapterStore.Loaded loaded = AdapterStore.read(moved, "again", model.points());
        try (Adapter again = loaded.adapter()) {
            assertThat(logits(model, again)).isEqualTo(before.get(0));
            assertThat(loaded.notes()).isEmpty();
            FusionConfig read = (FusionConfig) loaded.config();
            assertThat(new ArrayList<>(read.adapters().keySet())).containsExactly("mails", "reviews", "others");
            assertThat(read.toBuilder().adapters(config.adapters()).build()).isEqualTo(config);
            assertThat(SublayerFusion.namesOf(again)).containsExactly("mails", "reviews", "others");
        }
        assertThat(AdapterFiles.read(moved).tensors().keySet())
                .hasSize(15)
                .contains("base_model.model.bert.encoder.layer.0.output.adapter_fusion_layer.value.weight");
        int number = 0;
        for (Path expert : experts().values()) { // which are adapters by themselves
            AdapterFile own = AdapterFiles.read(moved.resolve(String.valueOf(number++)));
            Map<String, Object> first =
                    new LinkedHashMap<>(AdapterFiles.read(expert).config());
            first.put("base_model_name_or_path", "tiny-bert");
            first.put("task_type", "SEQ_CLS");
            assertThat(own.config()).isEqualTo(first);
            AdapterFiles.read(expert)
                    .tensors()
                    .forEach((name, data) ->
                            assertThat(own.tensors().get(name).bytes()).as(name).isEqualTo(data.bytes()));
        }
    }

    private static void change(Path directory, Consumer<Map<String, Object>> change) throws Exception {
        AdapterFile file = AdapterFiles.read(directory);
        Map<String, Object> config = new LinkedHashMap<>(file.config());
        change.accept(config);
        AdapterFiles.write(directory, config, file.tensors().values());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\'',
            value = {
                "{\"adapter_names\": [\"a\"]} | adapter_names must have a name of its own for each of the 2 experts,"
                        + " got",
                "{\"adapter_names\": [\"a\", \"a\"]} | adapter_names must have a name of its own for each of the 2",
                "{\"adapter_names\": [\"a\", \" \"]} | adapters must have names that are not blank",
                "{\"adapters\": {\"a\": \"0\", \"b\": \"1\"}} | adapters must name the places of the experts",
                "{\"value\": 3} | value must be true or false",
                "{\"value\": false, \"regularization\": true} | regularization must be false where value is",
                "{\"value\": false, \"regularization\": false} | find no place",
                "{\"dropout\": 1} | dropout must be in [0, 1), got 1.0",
                "{\"residual_before\": true} | residual_before true is not supported: experts",
                "{\"temperature\": true} | temperature true is not supported",
                "{\"key\": false} | key false is not supported",
                "{\"query\": false} | query false is not supported",
            })
    void aWrongKeyOfAFileIsOneClearError(String settings, String message) throws Exception {
        Path there = written(of(2).build(), adapter -> {});
        Map<String, Object> wrong =
                Json.readObject(Path.of("settings"), settings.getBytes(java.nio.charset.StandardCharsets.UTF_8));
        change(there, keys -> keys.putAll(wrong));
        assertThatThrownBy(() -> AdapterStore.read(there, "wrong", model.points()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(there + "/")
                .hasMessageContaining(message);
    }

    @Test
    void anExpertThatIsGoneIsNamed() throws Exception {
        Path there = written(of(2).build(), adapter -> {});
        org.peft4j.io.AtomicDirectories.delete(there.resolve("1"));
        assertThatThrownBy(() -> AdapterStore.read(there, "wrong", model.points()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll("number 1 is missing", "no folder 1 here");
    }

    /** Heads of other numbers of classes, and of other tasks, are no part of what is fused. */
    @Test
    void headsOfExpertsAreLeftOut() throws Exception {
        BottleneckConfig config = BottleneckConfig.seqBn().toBuilder()
                .reductionFactor(ReductionFactor.of(4))
                .modulesToSave(List.of("classifier", "pooler"))
                .build();
        Path five = dir.resolve("five");
        try (HeadedModel other = HeadedModel.open(
                Fixtures.tinyBert(), ModelOptions.defaults(), HeadKind.SEQUENCE, new HeadOptions(5, true))) {
            XLoraExperts.write(five, config, other.points(), 3);
        }
        assertThat(AdapterFiles.read(five).tensors().keySet()).anyMatch(name -> name.contains("classifier"));
        FusionConfig fused = of(1).adapters(Map.of("five", five))
                .modulesToSave(List.of("classifier"))
                .build();
        Path there = written(fused, adapter -> {
            assertThat(adapter.parameters().get("classifier.weight").shape()).containsExactly(2, 32);
            assertThat(inside(adapter).get(0).notes())
                    .singleElement()
                    .asString()
                    .contains("head is left out (", "classifier.weight", "bert.pooler.dense.bias");
        });
        assertThat(AdapterFiles.read(there.resolve("0")).tensors().keySet())
                .noneMatch(name -> name.contains("classifier") || name.contains("pooler"))
                .hasSize(3 * 4);
        AdapterStore.Loaded again = AdapterStore.read(there, "again", model.points());
        assertThat(again.notes()).isEmpty();
        again.adapter().close();
    }

    /** Whose layers share a rule, or whose activation is learned. */
    @Test
    void anyActivationAndAnyLayersAreFused() throws Exception {
        Map<String, Path> mixed = new LinkedHashMap<>();
        mixed.put(
                "compacter",
                expert(BottleneckConfig.compacterPlusPlus().toBuilder()
                        .reductionFactor(ReductionFactor.of(4))
                        .build()));
        mixed.put(
                "one W",
                expert(seqBn().reductionFactor(ReductionFactor.of(2))
                        .phm(new PhmConfig(
                                4,
                                new PhmConfig.Rule(true, true, PhmConfig.RuleInit.UNIFORM, 0.1),
                                new PhmConfig.Weights(1, false, true),
                                false))
                        .build()));
        mixed.put(
                "rational",
                expert(seqBn().activation(BottleneckConfig.Activation.RATIONAL)
                        .scaling(Scaling.LEARNED)
                        .build()));
        FusionConfig config = of(1).adapters(mixed).build();
        List<float[]> before = new ArrayList<>();
        Path there = written(config, adapter -> before.add(logits(model, adapter)));
        try (Adapter again = AdapterStore.read(there, "again", model.points()).adapter()) {
            assertThat(logits(model, again)).isEqualTo(before.get(0));
        }
        for (String name : mixed.keySet()) {
            Map<String, Path> one = Map.of(name, mixed.get(name));
            try (Adapter fused = attach(withoutValue(1).adapters(one).build());
                    Adapter alone = AdapterStore.read(one.get(name), "alone", model.points())
                            .adapter()) {
                assertThat(maxDifference(logits(model, fused), logits(model, alone)))
                        .as(name)
                        .isLessThan(1e-6);
            }
        }
    }

    /** An adapter of the same places may stand before or behind, as bottlenecks stand one behind the other. */
    @Test
    void otherAdaptersStandBesideIt() throws Exception {
        try (Adapter fused = attach(withoutValue(1).build());
                Adapter alone = AdapterStore.read(experts().get("mails"), "alone", model.points())
                        .adapter();
                Adapter other = AdapterStore.read(experts().get("others"), "other", model.points())
                        .adapter()) {
            assertThat(maxDifference(logits(model, fused, other), logits(model, alone, other)))
                    .isLessThan(1e-5);
            assertThat(maxDifference(logits(model, other, fused), logits(model, other, alone)))
                    .isLessThan(1e-5);
        }
    }

    private void expertIsRefused(Path expert, String... messages) {
        Map<String, Path> both = new LinkedHashMap<>(XLoraExperts.first(experts(), 1));
        both.put("bad", expert);
        assertThatThrownBy(() -> attach(of(1).adapters(both).build()).close())
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("adapters: 'bad'")
                .hasMessageContainingAll(messages);
    }

    private Path expert(MethodConfig config) throws Exception {
        return XLoraExperts.write(dir.resolve("expert" + System.nanoTime()), config, model.points(), 3);
    }

    private static BottleneckConfig.Builder seqBn() {
        return BottleneckConfig.seqBn().toBuilder();
    }

    @Test
    void whatIsNotFusedIsRefused() throws Exception {
        expertIsRefused(dir.resolve("nothing"), "nothing");
        expertIsRefused(expert(LoraConfig.defaults()), "must be a bottleneck adapter, is LORA");
        expertIsRefused(written(of(1).build(), adapter -> {}), "must be a bottleneck adapter, is ADAPTER_FUSION");
        expertIsRefused(
                expert(BottleneckConfig.parBn()), "stands beside the sublayer (parallel)", "seq_bn, double_seq_bn");
        expertIsRefused(expert(seqBn().prefix(new BottleneckPrefix(2, 4)).build()), "has a prefix (mam)", "without");
        expertIsRefused(
                expert(seqBn().modulesToSave(List.of("output.LayerNorm")).build()),
                "must leave the model as it is, has bert.encoder.layer.0.attention.output.LayerNorm.",
                "train it without");
        expertIsRefused(
                expert(BottleneckConfig.doubleSeqBn().toBuilder()
                        .norms(OriginalNorms.BOTH)
                        .build()),
                "must stand at the sublayers where 'mails' stands",
                "stands also at bert.encoder.layer.0.attention.output");
        expertIsRefused(
                expert(seqBn().leaveOut(List.of(1)).build()),
                "lacks bert.encoder.layer.1.output",
                "leave_out of all experts must be the same");
        expertIsRefused(
                expert(seqBn().norms(OriginalNorms.AFTER).build()),
                "must have original_ln_before, original_ln_after and residual_before_ln of 'mails'");
        expertIsRefused(
                FusionExpertsOf.model(Fixtures.TINY_LLAMA, HeadKind.LANGUAGE, BottleneckConfig.seqBn())
                        .get("mails"),
                "adapter_down.weight");
        AdapterFile other = AdapterFiles.read(experts().get("reviews"));
        AdapterFiles.write(
                dir.resolve("wide"),
                other.config(),
                other.tensors().values().stream()
                        .map(data -> TensorData.ofFloats(
                                data.name(),
                                data.shape().stream()
                                        .map(size -> size == 32 ? 64 : size)
                                        .toList(),
                                new float[data.toFloats().length * (data.shape().contains(32L) ? 2 : 1)]))
                        .toList());
        expertIsRefused(dir.resolve("wide"), "must have shape", "for this model, has");
    }

    @Test
    void settingsThatMeanNothingAreRefused() {
        assertThatThrownBy(() -> attach(FusionConfig.defaults()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("adapters must name at least one bottleneck adapter, by a name and its directory");
        assertThatThrownBy(() -> of(1).value(false).build())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("regularization must be false where value is");
        assertThatThrownBy(() -> of(1).dropout(Double.NaN).build()).hasMessageStartingWith("dropout must be in [0, 1)");
        assertThatThrownBy(() -> attach(of(1).dropout(1e-4).build())).hasMessageStartingWith("dropout must be 0 or at");
        assertThatThrownBy(() -> of(1).adapters(Map.of(" ", dir)).build())
                .hasMessageStartingWith("adapters must have names that are not blank");
        FusionConfig gone = of(1).adapters(Map.of("gone", dir.resolve("gone"))).build();
        assertThatThrownBy(() -> Methods.of(gone).parameterCount(gone, model.points()))
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("adapters: 'gone'");
    }
}
