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
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckConfig.Activation;
import org.peft4j.method.bottleneck.BottleneckLora;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.InitBottleneck;
import org.peft4j.method.bottleneck.InvertibleAdapter;
import org.peft4j.method.bottleneck.OriginalNorms;
import org.peft4j.method.bottleneck.OriginalNorms.Residual;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.bottleneck.Scaling;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
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
import org.peft4j.nn.seam.SublayerPoint;

/** Bottleneck adapters: each formula against itself in double, what they begin with, their files, what they refuse. */
class BottlenecksTest extends WithTinyBert {
    private static final int D = 8;
    private static final int ROWS = 3;
    private static final double EPS = 1e-5;
    private static final String PATH = "block.0.output";

    @TempDir
    Path directory;

    static Stream<Arguments> formulas() {
        Map<String, BottleneckConfig> configs = new LinkedHashMap<>();
        for (OriginalNorms norms : List.of(
                OriginalNorms.BOTH,
                OriginalNorms.AFTER,
                OriginalNorms.BEFORE,
                new OriginalNorms(true, true, Residual.INPUT),
                new OriginalNorms(true, true, Residual.POST_ADD),
                new OriginalNorms(false, true, Residual.INPUT))) {
            configs.put(norms.toString(), small().norms(norms).build());
        }
        configs.put("par_bn", of(BottleneckConfig.parBn()));
        configs.put("scaled_par_bn", of(BottleneckConfig.scaledParBn()));
        configs.put("channel", small().scaling(Scaling.CHANNEL).build());
        configs.put("scaling", small().scaling(Scaling.of(-0.5)).build());
        for (Activation activation : Activation.values()) {
            configs.put(activation.name(), small().activation(activation).build());
        }
        configs.put(
                "rational from swish",
                small().activation(Activation.RATIONAL)
                        .rationalInit(InitRational.SWISH)
                        .build());
        configs.put("wide", small().reductionFactor(ReductionFactor.of(0.5)).build());
        PhmConfig phm = PhmConfig.defaults().withSizes(2, 2);
        configs.put("phm", small().phm(phm).build());
        configs.put(
                "phm, own rule in two factors, one W for all, without biases",
                small().phm(new PhmConfig(
                                4,
                                new PhmConfig.Rule(false, true, PhmConfig.RuleInit.UNIFORM, 0.1),
                                new PhmConfig.Weights(1, true, true),
                                false))
                        .build());
        configs.put(
                "phm, whole W",
                small().phm(new PhmConfig(
                                4,
                                new PhmConfig.Rule(true, false, PhmConfig.RuleInit.NORMAL, 0.1),
                                new PhmConfig.Weights(1, false, false),
                                true))
                        .build());
        return configs.entrySet().stream()
                .flatMap(entry -> Stream.of(true, false)
                        .map(behind -> arguments(entry.getKey(), behind ? "norm behind" : "before", entry.getValue())));
    }

    private static BottleneckConfig.Builder small() {
        return BottleneckConfig.builder().reductionFactor(ReductionFactor.of(2)).activation(Activation.SWISH);
    }

    private static BottleneckConfig of(BottleneckConfig config) {
        return config.toBuilder()
                .reductionFactor(ReductionFactor.of(2))
                .activation(Activation.TANH)
                .build();
    }

    @ParameterizedTest(name = "{0}, {1}")
    @MethodSource("formulas")
    void itIsItsFormula(String name, String norm, BottleneckConfig config) {
        boolean behind = norm.equals("norm behind");
        SublayerPoint point = new SublayerPoint(PATH, 0, SublayerPoint.Kind.MLP, D, behind);
        Points points = points(point);
        try (PointerScope scope = new PointerScope();
                Adapter adapter = random(config, points);
                ForwardContext context = ForwardContext.inference(Packing.of(2, 1), adapter)) {
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
            UnaryOperator<double[]> layerNorm = behind ? row -> normed(row, doubles(w), doubles(b)) : row -> row;
            Map<String, double[]> values = new LinkedHashMap<>();
            adapter.parameters().forEach((path, parameter) -> values.put(path, doubles(parameter.value())));
            float[] is = Tensors.toFloats(made);
            for (int t = 0; t < ROWS; t++) {
                double[] expected = block(config, values, row(h, t), row(x, t), layerNorm);
                for (int i = 0; i < D; i++) {
                    assertThat((double) is[t * D + i])
                            .as("row %s, element %s", t, i)
                            .isCloseTo(expected[i], within(2e-5));
                }
            }
        }
    }

    private static Points points(SublayerPoint... all) {
        return new Points("small", "Small", D, 1, 2, List.of(), List.of(), Map.of(), List.of()).and(List.of(all));
    }

    private static Adapter random(BottleneckConfig config, Points points) {
        Adapter adapter = Methods.of(config).attach("a", config, points, 7);
        for (Parameter parameter : adapter.parameters().values()) {
            parameter.set(
                    Tensors.toFloats(parameter.value().add(Init.normal(3, parameter.path(), 0.3, parameter.shape()))));
        }
        return adapter;
    }

    /** What the block has behind the sublayer. */
    private static double[] block(
            BottleneckConfig config,
            Map<String, double[]> values,
            double[] h,
            double[] x,
            UnaryOperator<double[]> norm) {
        OriginalNorms norms = config.norms();
        double[] sum = plus(h, x);
        double[] r = config.parallel() ? x : norms.originalLnBefore() ? norm.apply(sum) : h;
        double[] u = bottleneck(config, values, r);
        double[] residual = switch (norms.residualBeforeLn()) {
            case OUTPUT -> h;
            case INPUT -> r;
            case POST_ADD -> sum;
        };
        double[] y = plus(u, residual);
        return norms.originalLnAfter() ? norm.apply(plus(y, x)) : y;
    }

    private static double[] bottleneck(BottleneckConfig config, Map<String, double[]> values, double[] r) {
        int inner = (int) Math.floor(D / config.reductionFactor().usual());
        double[] a = linear(config, values, "down", r, inner);
        for (int i = 0; i < a.length; i++) {
            a[i] = activation(config, values, a[i]);
        }
        double[] u = linear(config, values, "up", a, D);
        double[] learned = values.get(PATH + ".adapter_scaling");
        for (int i = 0; i < u.length; i++) {
            u[i] *= learned == null ? config.scaling().factor() : learned[learned.length == 1 ? 0 : i];
        }
        return u;
    }

    private static double[] linear(
            BottleneckConfig config, Map<String, double[]> values, String way, double[] x, int out) {
        String path = PATH + ".adapter_" + way;
        double[] bias = values.getOrDefault(path + ".bias", new double[out]);
        double[] y = new double[out];
        for (int o = 0; o < out; o++) {
            y[o] = bias[o];
            for (int i = 0; i < x.length; i++) {
                double w = config.phm() == null
                        ? values.get(path + ".weight")[o * x.length + i]
                        : kronecker(config.phm(), values, path, way, i, o, x.length, out);
                y[o] += w * x[i];
            }
        }
        return y;
    }

    /** Element (i, o) of the sum of Kronecker products, by its definition. */
    private static double kronecker(
            PhmConfig phm, Map<String, double[]> values, String path, String way, int i, int o, int in, int out) {
        int n = phm.dim();
        int p = in / n;
        int q = out / n;
        String rule = phm.rule().sharedRule() ? "base_model.phm_rule" : path + ".phm_rule";
        String w = phm.weights().sharedW() ? "base_model.W_" + way : path + ".W";
        double sum = 0;
        for (int k = 0; k < n; k++) {
            int a = i / p;
            int b = o / q;
            double r = phm.rule().factorizedRule()
                    ? values.get(rule + "_left")[k * n + a] * values.get(rule + "_right")[k * n + b]
                    : values.get(rule)[(k * n + a) * n + b];
            double m = 0;
            if (phm.weights().factorizedW()) {
                for (int c = 0; c < phm.weights().rank(); c++) {
                    m += values.get(w + "_left")[(k * p + i % p) * phm.weights().rank() + c]
                            * values.get(w + "_right")[(k * phm.weights().rank() + c) * q + o % q];
                }
            } else {
                m = values.get(w)[(k * p + i % p) * q + o % q];
            }
            sum += r * m;
        }
        return sum;
    }

    private static double activation(BottleneckConfig config, Map<String, double[]> values, double x) {
        return switch (config.activation()) {
            case RELU -> Math.max(0, x);
            case GELU -> 0.5 * x * (1 + erf(x / Math.sqrt(2)));
            case SWISH -> x / (1 + Math.exp(-x));
            case TANH -> Math.tanh(x);
            case RATIONAL -> {
                double numerator = 0;
                double denominator = 1;
                double[] a = values.get(PATH + ".adapter_act.numerator");
                double[] b = values.get(PATH + ".adapter_act.denominator");
                for (int j = 0; j < a.length; j++) {
                    numerator += a[j] * Math.pow(x, j);
                }
                for (int j = 0; j < b.length; j++) {
                    denominator += Math.abs(b[j]) * Math.pow(Math.abs(x), j + 1);
                }
                yield numerator / denominator;
            }
        };
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
        for (double value : row) {
            mean += value / row.length;
        }
        double variance = 0;
        for (double value : row) {
            variance += (value - mean) * (value - mean) / row.length;
        }
        double[] normed = new double[row.length];
        for (int i = 0; i < row.length; i++) {
            normed[i] = (row[i] - mean) / Math.sqrt(variance + EPS) * weight[i] + bias[i];
        }
        return normed;
    }

    private static double[] plus(double[] a, double[] b) {
        double[] sum = new double[a.length];
        for (int i = 0; i < sum.length; i++) {
            sum[i] = a[i] + b[i];
        }
        return sum;
    }

    private static double[] row(Tensor t, int row) {
        return doubles(t.select(0, row));
    }

    private static double[] doubles(Tensor t) {
        float[] floats = Tensors.toFloats(t);
        double[] values = new double[floats.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = floats[i];
        }
        return values;
    }

    private Adapter attach(BottleneckConfig config) {
        return Methods.of(config).attach("a", config, model.points(), 5);
    }

    private static List<String> names(Adapter adapter, String group) {
        return adapter.parameters().values().stream()
                .filter(parameter -> parameter.group().equals(group))
                .map(Parameter::path)
                .toList();
    }

    /** Whatever its scaling and its place, what adds zeros changes nothing. */
    @Test
    void whatBeginsWithZerosIsTheModel() {
        float[] base = logits(model);
        for (OriginalNorms norms : List.of(OriginalNorms.BOTH, OriginalNorms.AFTER, OriginalNorms.BEFORE)) {
            BottleneckConfig config = BottleneckConfig.builder()
                    .mhAdapter(true)
                    .init(InitBottleneck.MAM_ADAPTER)
                    .scaling(Scaling.of(7))
                    .norms(norms)
                    .build();
            try (Adapter adapter = attach(config)) {
                assertThat(logits(model, adapter)).as(norms.toString()).isEqualTo(base);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = InitBottleneck.class,
            names = {"BERT", "HOULSBY"})
    void whatBeginsSmallIsNearlyTheModel(InitBottleneck init) {
        float[] base = logits(model);
        try (Adapter adapter =
                attach(BottleneckConfig.doubleSeqBn().toBuilder().init(init).build())) {
            assertThat(maxDifference(logits(model, adapter), base)).isBetween(1e-9, 1e-2);
            float[] weight = Tensors.toFloats(adapter.parameters()
                    .get("bert.encoder.layer.0.output.adapter_down.weight")
                    .value());
            if (init == InitBottleneck.HOULSBY) {
                for (float value : weight) {
                    assertThat(Math.abs(value)).isLessThanOrEqualTo(0.02f);
                }
            }
        }
    }

    /** Adapters of one seed are what they were before there were other places. */
    @Test
    void theUsualOneBeginsAsItAlwaysDid() {
        String path = "bert.encoder.layer.1.output.adapter_up.weight";
        try (PointerScope scope = new PointerScope();
                Adapter adapter = attach(BottleneckConfig.defaults())) {
            assertThat(adapter.parameters().keySet()).allMatch(name -> !name.contains("attention"));
            assertThat(Tensors.toFloats(adapter.parameters().get(path).value()))
                    .isEqualTo(Tensors.toFloats(Init.normal(5, path, 0.02, 32, 2)));
        }
    }

    @Test
    void coefficientsAreAGroupOfTheirOwn() {
        BottleneckConfig config =
                small().activation(Activation.RATIONAL).mhAdapter(true).build();
        try (Adapter adapter = attach(config)) {
            assertThat(names(adapter, "activation"))
                    .hasSize(2 * 2 * 3)
                    .contains("bert.encoder.layer.2.attention.output.adapter_act.numerator");
            assertThat(names(adapter, "bottleneck")).hasSize(4 * 2 * 3);
        }
    }

    @Test
    void layersMayDiffer() {
        BottleneckConfig config = BottleneckConfig.builder()
                .reductionFactor(new ReductionFactor(16.0, Map.of(1, 4.0)))
                .leaveOut(List.of(2))
                .build();
        try (Adapter adapter = attach(config)) {
            Map<String, List<Integer>> shapes = new LinkedHashMap<>();
            adapter.parameters().forEach((path, parameter) -> {
                if (path.endsWith("down.weight")) {
                    shapes.put(path, List.of((int) parameter.shape()[0], (int)
                            parameter.shape()[1]));
                }
            });
            assertThat(shapes)
                    .containsExactly(
                            Map.entry("bert.encoder.layer.0.output.adapter_down.weight", List.of(2, 32)),
                            Map.entry("bert.encoder.layer.1.output.adapter_down.weight", List.of(8, 32)));
        }
    }

    static Stream<Arguments> files() {
        Map<String, BottleneckConfig> configs =
                new LinkedHashMap<>(new org.peft4j.method.spi.bottleneck.BottleneckMethod().namedSettings());
        configs.put(
                "all else",
                BottleneckConfig.builder()
                        .mhAdapter(true)
                        .outputAdapter(false)
                        .reductionFactor(new ReductionFactor(null, Map.of(0, 2.0, 1, 1.5)))
                        .leaveOut(List.of(2))
                        .activation(Activation.RATIONAL)
                        .rationalInit(InitRational.SWISH)
                        .scaling(Scaling.CHANNEL)
                        .init(InitBottleneck.HOULSBY)
                        .norms(OriginalNorms.BEFORE)
                        .dropout(0.25)
                        .prefix(new BottleneckPrefix(2, 3))
                        .lora(new BottleneckLora(3, 0.5, Targets.names("key")))
                        .gate(true)
                        .stochasticDepth(0.5)
                        .modulesToSave(List.of("classifier"))
                        .build());
        configs.put(
                "invertible, rational",
                small().invertible(new InvertibleAdapter(InvertibleAdapter.InvAdapter.NICE, 5))
                        .activation(Activation.RATIONAL)
                        .build());
        configs.put(
                "phm",
                small().phm(new PhmConfig(
                                2,
                                new PhmConfig.Rule(false, true, PhmConfig.RuleInit.UNIFORM, 0.5),
                                new PhmConfig.Weights(1, false, true),
                                false))
                        .norms(new OriginalNorms(true, true, Residual.POST_ADD))
                        .build());
        return configs.entrySet().stream().map(entry -> arguments(entry.getKey(), entry.getValue()));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("files")
    void itsFileHasItsSettings(String name, BottleneckConfig named) throws Exception {
        BottleneckConfig.Builder fitting = named.toBuilder(); // for a small model
        if (named.phm() != null) {
            fitting.reductionFactor(ReductionFactor.of(4));
        }
        if (named.prefix() != null) {
            fitting.prefix(new BottleneckPrefix(3, 5, !name.equals("all else")));
        }
        if (named.lora() != null) { // files name the layers
            fitting.lora(named.lora().withTargets(Targets.names("query", "value")));
        }
        if (name.equals("adapter_plus")) {
            fitting.reductionFactor(ReductionFactor.of(8));
        }
        BottleneckConfig config = fitting.build();
        try (Adapter adapter = attach(config)) {
            AdapterStore.write(directory, adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
            AdapterStore.Loaded loaded = AdapterStore.read(directory, "again", model.points());
            try (Adapter again = loaded.adapter()) {
                assertThat(loaded.config()).isEqualTo(config);
                assertThat(loaded.notes()).isEmpty();
                assertThat(logits(model, again)).isEqualTo(logits(model, adapter));
            }
        }
    }

    /** Files of the first release have three settings. */
    @Test
    void aFileWithoutTheOthersIsOneBehindEachMlp() throws Exception {
        BottleneckConfig config = new BottleneckConfig(4, Activation.SWISH, 0.1, List.of());
        try (Adapter adapter = attach(config)) {
            AdapterStore.write(directory, adapter, config, model.points(), "tiny-bert", "SEQ_CLS");
            rewritten(keys -> keys.keySet()
                    .retainAll(List.of("peft_type", "reduction_factor", "activation", "dropout", "task_type")));
            AdapterStore.Loaded loaded = AdapterStore.read(directory, "again", model.points());
            assertThat(loaded.config()).isEqualTo(config);
            loaded.adapter().close();
        }
    }

    private void rewritten(java.util.function.Consumer<Map<String, Object>> change) throws Exception {
        Map<String, Object> keys =
                new LinkedHashMap<>(AdapterFiles.read(directory).config());
        List<org.peft4j.io.safetensors.TensorData> tensors =
                new ArrayList<>(AdapterFiles.read(directory).tensors().values());
        change.accept(keys);
        AdapterFiles.write(directory, keys, tensors);
    }

    @ParameterizedTest
    @org.junit.jupiter.params.provider.CsvSource(
            delimiter = '|',
            quoteCharacter = '\'',
            value = {
                "{\"activation\": \"mish\"} | activation must be one of [relu, gelu, swish, tanh, rational], got"
                        + " \"mish\"",
                "{\"reduction_factor\": 0} | reduction_factor must be at least 1/64",
                "{\"reduction_factor\": \"half\"} | reduction_factor must be a number",
                "{\"reduction_factor\": {\"first\": 2}} | reduction_factor must have numbers of layers and 'default'"
                        + " as keys, got 'first'",
                "{\"reduction_factor\": {}} | reduction_factor must be a number, or one for each layer",
                "{\"scaling\": \"learnt\"} | scaling must be a number, learned, or channel",
                "{\"scaling\": 0} | scaling must be a number other than 0",
                "{\"residual_before_ln\": \"no\"} | residual_before_ln must be true, false or post_add",
                "{\"original_ln_after\": false} | residual_before_ln must be false where original_ln_after is",
                "{\"original_ln_after\": false, \"original_ln_before\": false} | original_ln_before and"
                        + " original_ln_after must not both be false",
                "{\"is_parallel\": true} | parallel needs original_ln_before: false",
                "{\"mh_adapter\": 1} | mh_adapter must be true or false",
                "{\"output_adapter\": false} | mh_adapter and outputAdapter must not both be false",
                "{\"leave_out\": [-1]} | leave_out must be a whole number",
                "{\"phm_layer\": true, \"phm_dim\": 0} | phm_dim must be 1 to",
                "{\"phm_layer\": true, \"init_weights\": \"houlsby\"} | init has no meaning with phm",
                "{\"init_weights\": \"xavier\"} | init_weights must be one of [bert, mam_adapter, houlsby]",
                "{\"rational_init\": \"gelu\"} | rational_init has no meaning for other activations",
                "{\"num_virtual_tokens\": 0} | must be 1 to",
                "{\"use_gating\": 1} | use_gating must be true or false",
                "{\"num_virtual_tokens\": 2, \"encoder_hidden_size\": 3, \"shared_gating\": false} | shared_gating has"
                        + " no meaning without use_gating",
                "{\"target_modules\": [\"query\"]} | target_modules must not be given without r",
                "{\"lora_dropout\": 0.5} | lora_dropout must not be given without r",
                "{\"r\": 0} | r must be at least 1",
                "{\"r\": 2, \"lora_dropout\": 1} | dropout must be in [0, 1)",
                "{\"stochastic_depth\": 1} | stochastic_depth must be in [0, 1)",
            })
    void aWrongKeyOfAFileIsOneClearError(String settings, String message) throws Exception {
        try (Adapter adapter = attach(BottleneckConfig.defaults())) {
            AdapterStore.write(directory, adapter, BottleneckConfig.defaults(), model.points(), "tiny-bert", "SEQ_CLS");
        }
        Map<String, Object> change =
                Json.readObject(Path.of("settings"), settings.getBytes(java.nio.charset.StandardCharsets.UTF_8));
        rewritten(keys -> keys.putAll(change));
        assertThatThrownBy(() -> AdapterStore.read(directory, "wrong", model.points()))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(directory.resolve("adapter_config.json") + ": ")
                .hasMessageContaining(message);
    }

    private void refuses(BottleneckConfig.Builder config, String message) {
        assertThatThrownBy(() -> attach(config.build()).close())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(message);
    }

    @Test
    void whatDoesNotFitTheModelIsRefused() {
        BottleneckConfig.Builder usual = BottleneckConfig.builder();
        refuses(
                usual.reductionFactor(ReductionFactor.of(33)),
                "reduction_factor: must be at most the width 32 of bert.encoder.layer.0.output, or no bottleneck would"
                        + " be left, got 33.0");
        refuses(
                usual.reductionFactor(new ReductionFactor(16.0, Map.of(1, 64.0))),
                "reduction_factor: must be at most the width 32 of bert.encoder.layer.1.output");
        refuses(
                usual.reductionFactor(new ReductionFactor(16.0, Map.of(3, 4.0))),
                "reduction_factor: the model has no layer 3, its layers are 0 to 2");
        refuses(
                usual.reductionFactor(new ReductionFactor(null, Map.of(0, 4.0))),
                "reduction_factor: nothing is said for layer 1; give 'default', or name the layer in leave_out");
        refuses(
                BottleneckConfig.builder().leaveOut(List.of(0, 1, 2)),
                "leave_out: must leave a layer, names all 3 of the model");
        refuses(BottleneckConfig.builder().leaveOut(List.of(7)), "leave_out: the model has no layer 7");
        refuses(
                BottleneckConfig.compacter().toBuilder(), // a bottleneck of width 1
                "phm: dim must divide the width and the bottleneck of bert.encoder.layer.0.attention.output, which are"
                        + " 32 and 1");
        refuses(small().phm(PhmConfig.defaults().withSizes(3, 1)), "phm: dim must divide the width");
    }

    @Test
    void settingsThatExcludeEachOtherAreRefused() {
        BottleneckConfig.Builder usual = BottleneckConfig.builder();
        refuses(usual.outputAdapter(false), "mhAdapter and outputAdapter must not both be false");
        refuses(BottleneckConfig.builder().parallel(true), "parallel needs original_ln_before: false");
        refuses(
                BottleneckConfig.builder().rationalInit(InitRational.GELU),
                "rationalInit has no meaning for other activations than rational, got gelu beside relu");
        refuses(
                BottleneckConfig.compacter().toBuilder().init(InitBottleneck.HOULSBY),
                "init has no meaning with phm, got houlsby");
        refuses(
                small().phm(new PhmConfig(
                                4,
                                new PhmConfig.Rule(true, false, PhmConfig.RuleInit.NORMAL, 1),
                                new PhmConfig.Weights(1, true, true),
                                true))
                        .reductionFactor(new ReductionFactor(2.0, Map.of(0, 4.0))),
                "reductionFactor must be the same in all layers where phm has shared_w");
        assertThatThrownBy(() -> new PhmConfig(
                        4,
                        new PhmConfig.Rule(true, false, PhmConfig.RuleInit.NORMAL, 1),
                        new PhmConfig.Weights(2, false, true),
                        true))
                .hasMessageContaining("rank has no meaning without factorizedW");
        refuses(
                BottleneckConfig.builder()
                        .reductionFactor(new ReductionFactor(16.0, Map.of(1, 4.0)))
                        .leaveOut(List.of(1)),
                "reductionFactor must not name layer 1, which leaveOut has, too");
        assertThatThrownBy(() -> new OriginalNorms(false, true, Residual.POST_ADD))
                .hasMessageContaining("residual_before_ln must be true or false");
        assertThatThrownBy(() -> Scaling.of(Double.NaN)).hasMessageContaining("scaling must be a number");
        assertThatThrownBy(() -> new BottleneckPrefix(0, 8)).hasMessageContaining("virtualTokens must be 1 to");
    }

    /** It gives what stands behind the norm: nothing can be added to what is normed then. */
    @Test
    void twoThatCannotStandTogetherAreRefused() {
        BottleneckConfig whole =
                BottleneckConfig.builder().norms(OriginalNorms.BEFORE).build();
        try (Adapter usual = attach(BottleneckConfig.defaults());
                Adapter one = attach(whole)) {
            assertThatThrownBy(() -> logits(model, usual, one))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("cannot both act on bert.encoder.layer.0.output");
        }
    }

    @Test
    void itSaysWhyItIsNotMerged() {
        for (BottleneckConfig config : List.of(BottleneckConfig.parBn(), BottleneckConfig.mam())) {
            assertThat(Methods.mergeRefusal(config))
                    .hasValueSatisfying(reason -> assertThat(reason).contains("activation"));
        }
    }
}
