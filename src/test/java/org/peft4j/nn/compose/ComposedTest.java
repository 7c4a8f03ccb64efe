package org.peft4j.nn.compose;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.ConfigException;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckConfig.Activation;
import org.peft4j.method.bottleneck.OriginalNorms;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.spi.Methods;
import org.peft4j.nn.Init;
import org.peft4j.nn.LayerNorm;
import org.peft4j.nn.Sublayer;
import org.peft4j.nn.SublayerSum;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.BiasDelta;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Magnitude;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.ops.Device;

/** What compositions do at a place, against their definitions in double. */
class ComposedTest {
    private static final int D = 8;
    private static final int[] LENGTHS = {3, 3, 3};
    private static final int ROWS = 9;
    private static final String PATH = "block.0.output";
    private static final LinearPoint SQUARE = new LinearPoint("square", 6, 6, false);
    private static final LinearPoint WIDE = new LinearPoint("wide", 6, 4, false);

    private static SublayerPoint point(boolean normBehind) {
        return new SublayerPoint(PATH, 0, SublayerPoint.Kind.MLP, D, normBehind);
    }

    private static Adapter bottleneck(String name, OriginalNorms norms, boolean normBehind, int seed) {
        BottleneckConfig config = BottleneckConfig.builder()
                .reductionFactor(ReductionFactor.of(2))
                .activation(Activation.TANH)
                .norms(norms)
                .build();
        Points points = new Points("small", "Small", D, 1, 2, List.of(), List.of(), Map.of(), List.of())
                .and(List.of(point(normBehind)));
        Adapter adapter = Methods.of(config).attach(name, config, points, seed);
        for (Parameter parameter : adapter.parameters().values()) {
            parameter.set(Tensors.toFloats(
                    parameter.value().add(Init.normal(seed, parameter.path(), 0.5, parameter.shape()))));
        }
        return adapter;
    }

    private static Adapter part(Adapter of) {
        return Composed.part(of.name(), of, Set.of());
    }

    /** What the block has behind the sublayer. */
    private static float[] block(Adapter adapter, boolean normBehind) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(LENGTHS), adapter)) {
            Tensor h = Init.normal(1, "h", 1, ROWS, D);
            Tensor x = Init.normal(1, "x", 1, ROWS, D);
            return Tensors.toFloats(
                    normBehind
                            ? new Sublayer(
                                            point(true),
                                            new LayerNorm(
                                                    PATH + ".LayerNorm",
                                                    Init.normal(1, "norm", 1, D),
                                                    Init.normal(1, "bias", 1, D),
                                                    1e-5))
                                    .forward(x, h, x, context.packing(), context, 0)
                            : new SublayerSum(point(false), null, 1, 0)
                                    .forward(() -> x, h, x, context.packing(), context));
        }
    }

    private static void close(float[] is, double[] expected) {
        assertThat(is).hasSize(expected.length);
        for (int i = 0; i < is.length; i++) {
            assertThat((double) is[i]).as("element %s", i).isCloseTo(expected[i], within(2e-5));
        }
    }

    private static double[] doubles(float[] of) {
        double[] all = new double[of.length];
        for (int i = 0; i < of.length; i++) {
            all[i] = of[i];
        }
        return all;
    }

    // Sublayers.

    @Test
    void anAverageIsTheWeightedSumOfWhatEachGives() {
        try (Adapter a = bottleneck("a", OriginalNorms.AFTER, false, 1);
                Adapter b = bottleneck("b", OriginalNorms.BOTH, false, 2)) {
            float[] ofA = block(a, false);
            float[] ofB = block(b, false);
            double[] expected = new double[ofA.length];
            for (int i = 0; i < expected.length; i++) {
                expected[i] = 0.3 * ofA[i] + 0.7 * ofB[i];
            }
            close(block(Composed.average("m", List.of(part(a), part(b)), List.of(0.3, 0.7)), false), expected);
            close(block(Composed.average("m", List.of(part(a), part(a)), List.of(0.5, 0.5)), false), doubles(ofA));
        }
    }

    @Test
    void aPartThatDoesNothingAtAPlaceGivesTheOutputItself() {
        try (Adapter a = bottleneck("a", OriginalNorms.AFTER, false, 1)) {
            Adapter none = Adapter.builder("none", Device.CPU).build();
            float[] ofA = block(a, false);
            float[] plain = block(none, false);
            double[] expected = new double[ofA.length];
            for (int i = 0; i < expected.length; i++) {
                expected[i] = 0.25 * ofA[i] + 0.75 * plain[i];
            }
            close(block(Composed.average("m", List.of(part(a), none), List.of(0.25, 0.75)), false), expected);
            close(block(Composed.stack("s", List.of(none, part(a), none)), false), doubles(ofA));
        }
    }

    /** Of the last step of a block, behind the norm, the mean is one of those steps. */
    @Test
    void behindTheNormTheMeanIsOfWhatStandsThere() {
        try (Adapter a = bottleneck("a", OriginalNorms.BEFORE, true, 1);
                Adapter b = bottleneck("b", OriginalNorms.BEFORE, true, 2);
                Adapter before = bottleneck("before", OriginalNorms.AFTER, true, 3)) {
            float[] ofA = block(a, true);
            float[] ofB = block(b, true);
            double[] expected = new double[ofA.length];
            for (int i = 0; i < expected.length; i++) {
                expected[i] = 0.5 * ofA[i] + 0.5 * ofB[i];
            }
            close(block(Composed.average("m", List.of(part(a), part(b)), List.of(0.5, 0.5)), true), expected);
            assertThatThrownBy(() ->
                            Composed.average("Average(a, before)", List.of(part(a), part(before)), List.of(0.5, 0.5)))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("Average(a, before)", "'a', 'before'", PATH, "what works");
            assertThatThrownBy(() -> Composed.stack("s", List.of(part(before), part(a))))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("'before', 'a'", PATH, "original_ln_after");
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aStackReadsWhatTheOneBeforeMade(boolean normBehind) {
        try (Adapter a = bottleneck("a", OriginalNorms.AFTER, normBehind, 1);
                Adapter b = bottleneck("b", OriginalNorms.AFTER, normBehind, 2);
                ForwardContext both = ForwardContext.inference(Packing.of(LENGTHS), a, b)) {
            assertThat(both.segments()).hasSize(1);
            Adapter stack = Composed.stack("s", List.of(part(a), part(b)));
            float[] turned = block(Composed.stack("s", List.of(part(b), part(a))), normBehind);
            float[] made = block(stack, normBehind);
            assertThat(made).isNotEqualTo(turned);
            if (!normBehind) {
                // b of a: b reads y = a(h), and gives y + u_b(y)
                try (PointerScope scope = new PointerScope();
                        ForwardContext context = ForwardContext.inference(Packing.of(LENGTHS), b)) {
                    Tensor h = Tensors.ofFloats(block(a, false), ROWS, D);
                    Tensor x = Init.normal(1, "x", 1, ROWS, D);
                    float[] expected = Tensors.toFloats(new SublayerSum(point(false), null, 1, 0)
                            .forward(() -> x, h, x, context.packing(), context));
                    close(made, doubles(expected));
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void eachRangeOfASplitIsAsItsAdapterAlone(boolean normBehind) {
        OriginalNorms last = normBehind ? OriginalNorms.BEFORE : OriginalNorms.BOTH;
        try (Adapter a = bottleneck("a", OriginalNorms.AFTER, normBehind, 1);
                Adapter b = bottleneck("b", last, normBehind, 2)) {
            float[] ofA = block(a, normBehind);
            float[] ofB = block(b, normBehind);
            float[] plain = block(Adapter.builder("none", Device.CPU).build(), normBehind);
            double[] expected = new double[ofA.length];
            double[] nested = new double[ofA.length];
            for (int i = 0; i < expected.length; i++) {
                int token = i / D % 3;
                expected[i] = token < 1 ? ofA[i] : ofB[i];
                nested[i] = token == 1 ? ofB[i] : token == 0 ? ofA[i] : plain[i];
            }
            close(block(Composed.split("s", List.of(part(a), part(b)), List.of(1, 2), 0, 3), normBehind), expected);
            Adapter none = Adapter.builder("none", Device.CPU).build();
            Adapter inner = Composed.split("i", List.of(part(b), none), List.of(1, 1), 1, 3);
            close(block(Composed.split("s", List.of(part(a), inner), List.of(1, 2), 0, 3), normBehind), nested);
        }
    }

    /** Where a block computes only rows that somebody reads, a row keeps its place in the whole text. */
    @Test
    void someRowsOfTextsAreThoseOfAll() {
        try (Adapter a = bottleneck("a", OriginalNorms.AFTER, false, 1);
                Adapter b = bottleneck("b", OriginalNorms.BOTH, false, 2)) {
            Adapter split = Composed.split("s", List.of(part(a), part(b)), List.of(2, 1), 0, 3);
            float[] all = block(split, false);
            for (int count = 1; count < 3; count++) {
                try (PointerScope scope = new PointerScope();
                        ForwardContext context = ForwardContext.inference(Packing.of(LENGTHS), split)) {
                    ReadRows last = ReadRows.last(count);
                    Tensor h = last.select(Init.normal(1, "h", 1, ROWS, D), context);
                    Tensor x = last.select(Init.normal(1, "x", 1, ROWS, D), context);
                    Tensor some = new SublayerSum(point(false), null, 1, 0)
                            .forward(() -> x, h, x, last.packing(context), context);
                    Tensor expected = last.select(Tensors.ofFloats(all, ROWS, D), context);
                    close(Tensors.toFloats(some), doubles(Tensors.toFloats(expected)));
                }
            }
        }
    }

    @Test
    void aSplitTakesTextsOfItsLengthAlone() {
        try (Adapter a = bottleneck("a", OriginalNorms.AFTER, false, 1)) {
            Adapter split = Composed.split("halves", List.of(part(a), part(a)), List.of(1, 3), 0, 4);
            assertThatThrownBy(() -> ForwardContext.inference(Packing.of(4, 3), split))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining(
                            "sequence 1 has 3 tokens, special ones included, but 'halves' splits texts of 4");
        }
    }

    // Linear layers.

    private static Adapter lowRank(String name, LinearPoint point, int rank, double scale, int seed) {
        Adapter.Builder builder = Adapter.builder(name, Device.CPU);
        Parameter a = Parameter.of("a", "g", () -> Init.normal(seed, "a", 1, rank, point.in()));
        Parameter b = Parameter.of("b", "g", () -> Init.normal(seed, "b", 1, point.out(), rank));
        return builder.parameter(a)
                .parameter(b)
                .claim(point, LowRank.of(a, b, scale, 0))
                .build();
    }

    /** ΔW of an adapter, [out, in]. */
    private static double[][] delta(Adapter adapter, LinearPoint point) {
        double[][] sum = new double[(int) point.out()][(int) point.in()];
        try (PointerScope scope = new PointerScope()) {
            for (LowRank update : adapter.lowRanks()) {
                float[] a = Tensors.toFloats(update.a());
                float[] b = Tensors.toFloats(update.b());
                int rank = (int) update.a().size(0);
                for (int o = 0; o < point.out(); o++) {
                    for (int i = 0; i < point.in(); i++) {
                        for (int r = 0; r < rank; r++) {
                            sum[o][i] += update.scale() * b[o * rank + r] * a[r * (int) point.in() + i];
                        }
                    }
                }
            }
        }
        return sum;
    }

    private static void close(double[][] is, double[][] expected) {
        for (int o = 0; o < expected.length; o++) {
            assertThat(is[o]).containsExactly(expected[o], within(1e-4));
        }
    }

    private static double[][] product(double[][] left, double[][] right) {
        double[][] made = new double[left.length][right[0].length];
        for (int o = 0; o < left.length; o++) {
            for (int k = 0; k < right.length; k++) {
                for (int i = 0; i < right[0].length; i++) {
                    made[o][i] += left[o][k] * right[k][i];
                }
            }
        }
        return made;
    }

    private static double[][] sum(double p, double[][] left, double q, double[][] right) {
        double[][] made = new double[left.length][left[0].length];
        for (int o = 0; o < left.length; o++) {
            for (int i = 0; i < left[0].length; i++) {
                made[o][i] = p * left[o][i] + q * right[o][i];
            }
        }
        return made;
    }

    @Test
    void anAverageOfUpdatesIsTheWeightedSumOfTheirMatrices() {
        try (Adapter a = lowRank("a", WIDE, 2, 0.5, 1);
                Adapter b = lowRank("b", WIDE, 3, 2, 2)) {
            close(
                    delta(Composed.average("m", List.of(part(a), part(b)), List.of(0.3, 0.7)), WIDE),
                    sum(0.3, delta(a, WIDE), 0.7, delta(b, WIDE)));
            close(delta(Composed.average("m", List.of(part(a), part(a)), List.of(0.5, 0.5)), WIDE), delta(a, WIDE));
        }
    }

    @Test
    void inAStackTheSecondReadsWhatTheFirstAddsAndOnlyItsOwnIsAdded() {
        try (Adapter a = lowRank("a", SQUARE, 2, 0.5, 1);
                Adapter b = lowRank("b", SQUARE, 3, 2, 2);
                Adapter c = lowRank("c", SQUARE, 1, -1, 3)) {
            double[][] ofA = delta(a, SQUARE);
            double[][] ofB = delta(b, SQUARE);
            double[][] ofC = delta(c, SQUARE);
            Adapter both = Composed.stack("s", List.of(part(a), part(b)));
            close(delta(both, SQUARE), product(ofB, ofA));
            assertThat(Composed.chains(both)).isTrue();
            close(
                    delta(Composed.stack("s", List.of(part(a), part(b), part(c))), SQUARE),
                    product(ofC, product(ofB, ofA)));
            Adapter mean = Composed.average("m", List.of(part(b), part(c)), List.of(0.4, 0.6));
            close(delta(Composed.stack("s", List.of(part(a), mean)), SQUARE), product(sum(0.4, ofB, 0.6, ofC), ofA));
            close(delta(Composed.stack("s", List.of(mean, part(a))), SQUARE), product(ofA, sum(0.4, ofB, 0.6, ofC)));
        }
    }

    @Test
    void whatCannotStandOneBehindTheOtherIsRefused() {
        try (Adapter a = lowRank("a", WIDE, 2, 0.5, 1);
                Adapter b = lowRank("b", WIDE, 3, 2, 2);
                Adapter square = lowRank("square", SQUARE, 3, 2, 2)) {
            assertThatThrownBy(() -> Composed.stack("Stack(a, b)", List.of(part(a), part(b))))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll(
                            "Stack(a, b)", "'a', 'b'", "wide, which has 6 inputs and 4 outputs", "Average");
            Adapter delta = claims("delta", SQUARE, (WeightDelta) () -> Init.ones(6, 6));
            assertThatThrownBy(() -> Composed.stack("s", List.of(part(square), delta)))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("'square', 'delta'", "both act on square");
            assertThat(Composed.stack("s", List.of(part(a), delta)).at(SQUARE)).hasSize(1);
            Adapter scaled = claims("scaled", SQUARE, (Magnitude) () -> Init.ones(6));
            assertThatThrownBy(() -> Composed.average("m", List.of(part(a), scaled), List.of(0.5, 0.5)))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("'scaled' scales or turns square");
            assertThatThrownBy(() -> Composed.split("x", List.of(part(a), part(b)), List.of(1, 1), 0, 2))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContainingAll("'a' acts on linear layers", "in a Split bottleneck adapters");
        }
    }

    private static Adapter claims(String name, LinearPoint point, LinearClaim claim) {
        return Adapter.builder(name, Device.CPU).claim(point, claim).build();
    }

    @Test
    void matricesAndBiasesHaveAMeanToo() {
        Adapter matrix = claims("matrix", SQUARE, (WeightDelta) () -> Init.ones(6, 6));
        Adapter bias = claims("bias", SQUARE, (BiasDelta) () -> Init.ones(6).mul(new Scalar(2.0)));
        Adapter mean = Composed.average("m", List.of(matrix, bias), List.of(0.25, 0.75));
        try (PointerScope scope = new PointerScope()) {
            WeightDelta ofMatrix = (WeightDelta) mean.at(SQUARE).get(0);
            assertThat(Tensors.toFloats(ofMatrix.matrix())).containsOnly(0.25f);
            assertThat(Tensors.toFloats(ofMatrix.product(Init.ones(1, 6)))).containsOnly(1.5f);
            assertThat(Tensors.toFloats(((BiasDelta) mean.at(SQUARE).get(1)).vector()))
                    .containsOnly(1.5f);
        }
    }

    @Test
    void aCompositionOwnsNothing() {
        try (Adapter a = lowRank("a", SQUARE, 2, 0.5, 1)) {
            Adapter stack = Composed.withHead("x", Composed.stack("s", List.of(part(a), part(a))), a, Set.of());
            assertThat(stack.parameters()).isEmpty();
            stack.close();
            assertThat(a.parameters().get("a").value().isNull()).isFalse();
            assertThat(delta(a, SQUARE)[0]).hasSize(6);
        }
    }
}
