package org.peft4j.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.InputScale;
import org.peft4j.nn.seam.InputUpdate;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Magnitude;
import org.peft4j.nn.seam.OutputScale;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** A group of layers against the formula, row by row: whatever claims, in whatever mixture of rows. */
class LinearGroupTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final int IN = 5;
    private static final int OUT = 4;

    private final Linear one = linear("one");
    private final Linear two = linear("two");
    private final List<Adapter> made = new ArrayList<>();

    private static Linear linear(String path) {
        return new Linear(
                path,
                Scopes.owned(() -> Init.normal(1, path + ".weight", 1, OUT, IN)),
                Scopes.owned(() -> Init.normal(1, path + ".bias", 1, OUT)));
    }

    private static LinearPoint point(Linear layer) {
        return new LinearPoint(layer.path(), IN, OUT, false);
    }

    @AfterEach
    void close() {
        made.forEach(Adapter::close);
        for (Linear layer : List.of(one, two)) {
            layer.weight().close();
            layer.bias().close();
        }
    }

    private static Parameter parameter(String path, long... shape) {
        return Parameter.of(path, "test", () -> Init.normal(2, path, 1, shape));
    }

    private Adapter adapter(Adapter.Builder builder) {
        Adapter adapter = builder.build();
        made.add(adapter);
        return adapter;
    }

    private Adapter lowRank(String name, Linear... layers) {
        Adapter.Builder builder = Adapter.builder(name, Device.CPU);
        for (Linear layer : layers) {
            Parameter a = parameter(name + layer.path() + ".A", 2, IN);
            Parameter b = parameter(name + layer.path() + ".B", OUT, 2);
            builder.parameter(a).parameter(b).claim(point(layer), LowRank.of(a, b, 0.5, 0));
        }
        return adapter(builder);
    }

    private Adapter inputScale(String name, Linear layer) {
        Parameter s = parameter(name + ".s", IN);
        return adapter(Adapter.builder(name, Device.CPU).parameter(s).claim(point(layer), (InputScale) s::value));
    }

    private Adapter outputScale(String name, Linear layer) {
        Parameter o = parameter(name + ".o", OUT);
        return adapter(Adapter.builder(name, Device.CPU).parameter(o).claim(point(layer), (OutputScale) o::value));
    }

    private Adapter replaced(String name, String path, Tensor frozen) {
        return adapter(Adapter.builder(name, Device.CPU)
                .claim(new TensorPoint(path, frozen), parameter(path, Tensors.shape(frozen))));
    }

    /** y = o ∘ (W (s ∘ x) + b + Σ scale B A (s ∘ x)), of one row. */
    private static Tensor formula(Linear layer, Tensor x, List<Adapter> adapters) {
        Tensor w = layer.weight();
        Tensor b = layer.bias();
        Tensor in = x;
        for (Adapter adapter : adapters) {
            Parameter weight = adapter.replacements().get(layer.weightPath());
            Parameter bias = adapter.replacements().get(layer.biasPath());
            w = weight == null ? w : weight.value();
            b = bias == null ? b : bias.value();
            for (var claim : adapter.at(point(layer))) {
                in = claim instanceof InputScale s ? in.mul(s.factors()) : in;
            }
        }
        Tensor y = in.matmul(w.t()).add(b);
        for (Adapter adapter : adapters) {
            for (var claim : adapter.at(point(layer))) {
                if (claim instanceof LowRank u) {
                    y = y.add(in.matmul(u.a().t()).matmul(u.b().t()).mul(new Scalar(u.scale())));
                }
            }
        }
        for (Adapter adapter : adapters) {
            for (var claim : adapter.at(point(layer))) {
                y = claim instanceof OutputScale o ? y.mul(o.factors()) : y;
            }
        }
        return y;
    }

    private void check(LinearGroup group, List<List<Adapter>> adaptersOf) {
        int[] lengths = new int[adaptersOf.size()];
        Arrays.setAll(lengths, s -> 1 + s % 3);
        Packing rows = Packing.of(lengths);
        try (PointerScope scope = new PointerScope();
                ForwardContext context = contextOf(rows, adaptersOf)) {
            Tensor x = Init.normal(3, "x", 1, rows.rows(), IN);
            Tensor[] y = group.forward(x, rows, context);
            for (int i = 0; i < y.length; i++) {
                Linear layer = group.layers().get(i);
                for (int s = 0; s < lengths.length; s++) {
                    Tensor expected = formula(layer, x.narrow(0, rows.begin(s), lengths[s]), adaptersOf.get(s));
                    assertThat(maxDifference(
                                    Tensors.toFloats(y[i].narrow(0, rows.begin(s), lengths[s])),
                                    Tensors.toFloats(expected)))
                            .as("%s, sequence %d", layer.path(), s)
                            .isLessThan(1e-5);
                }
            }
        }
    }

    private static ForwardContext contextOf(Packing rows, List<List<Adapter>> adaptersOf) {
        if (adaptersOf.stream().distinct().count() == 1) {
            return ForwardContext.inference(rows, adaptersOf.get(0).toArray(Adapter[]::new));
        }
        List<@Nullable Adapter> adapterOf = new ArrayList<>();
        adaptersOf.forEach(own -> adapterOf.add(own.isEmpty() ? null : own.get(0)));
        return ForwardContext.inference(rows, adapterOf);
    }

    @Test
    void everyClaimAlone() {
        try (LinearGroup both = LinearGroup.of(one, two)) {
            for (Adapter adapter : List.of(
                    lowRank("a", one, two),
                    lowRank("b", two),
                    inputScale("c", two),
                    outputScale("d", one),
                    replaced("e", "two.weight", two.weight()),
                    replaced("f", "one.bias", one.bias()))) {
                check(both, List.of(List.of(adapter), List.of(adapter)));
            }
            check(both, List.of(List.of(), List.of()));
        }
    }

    @Test
    void severalOnTheSameRows() {
        try (LinearGroup both = LinearGroup.of(one, two)) {
            List<Adapter> updates =
                    List.of(lowRank("a", one), lowRank("b", one, two), replaced("f", "one.bias", one.bias()));
            check(both, List.of(updates, updates));
            List<Adapter> scales = List.of(outputScale("c", one), outputScale("d", one), inputScale("e", two));
            check(both, List.of(scales, scales));
        }
    }

    @Test
    void eachRowItsOwn() {
        try (LinearGroup both = LinearGroup.of(one, two)) {
            List<Adapter> low = List.of(lowRank("a", one, two));
            List<Adapter> other = List.of(lowRank("b", one));
            List<Adapter> weight = List.of(replaced("e", "two.weight", two.weight()));
            List<Adapter> bias = List.of(replaced("f", "one.bias", one.bias()));
            List<Adapter> in = List.of(inputScale("c", two));
            List<Adapter> out = List.of(outputScale("d", one));
            check(both, List.of(low, List.of(), other, low));
            check(both, List.of(out, low, weight, in, List.of(), bias, other, in, out));
        }
    }

    /** y of both layers, and the gradients of x and of the adapter's parameters. */
    private static List<float[]> resultsOf(LinearGroup group, Adapter adapter, Packing rows, boolean training) {
        List<float[]> results = new ArrayList<>();
        try (PointerScope scope = new PointerScope();
                ForwardContext context = training
                        ? ForwardContext.training(rows, 7, adapter)
                        : ForwardContext.inference(rows, adapter)) {
            Tensor x = Init.normal(3, "x", 1, rows.rows(), IN);
            x.requires_grad_(true);
            Tensor[] y = group.forward(x, rows, context);
            y[0].mul(y[0]).sum().add(y[1].sum()).backward();
            for (Tensor part : y) {
                results.add(Tensors.toFloats(part.detach()));
            }
            results.add(Tensors.toFloats(x.grad()));
            for (Parameter parameter : adapter.parameters().values()) {
                results.add(Tensors.toFloats(parameter.value().grad()));
                parameter.value().mutable_grad().reset();
            }
        }
        return results;
    }

    private void trainedAsUsed(Adapter.Builder builder, List<Parameter> parameters, LinearClaim... claims) {
        parameters.forEach(builder::parameter);
        for (LinearClaim claim : claims) {
            builder.claim(point(one), claim);
        }
        Adapter adapter = adapter(builder);
        Packing rows = Packing.of(3, 6);
        try (LinearGroup both = LinearGroup.of(one, two)) {
            List<float[]> used = resultsOf(both, adapter, rows, false);
            List<float[]> trained = resultsOf(both, adapter, rows, true);
            for (int i = 0; i < used.size(); i++) {
                double largest = maxDifference(used.get(i), new float[used.get(i).length]);
                assertThat(maxDifference(trained.get(i), used.get(i)))
                        .as("result %d, values up to %s", i, largest)
                        .isLessThan(1e-5 * largest);
            }
        }
    }

    /** {@code x F}, whose matrix may be turned in place of x. */
    private record Turn(Parameter f, boolean prefersMatrix) implements InputUpdate {
        @Override
        public Tensor of(Tensor x) {
            return x.matmul(f.value());
        }

        @Override
        public boolean prefersMatrix(long in, long out) {
            return prefersMatrix;
        }
    }

    /** {@code x - x Aᵀ A}. */
    private record Mirror(Parameter a) implements InputUpdate {
        @Override
        public Tensor of(Tensor x) {
            return x.sub(x.matmul(a.value().t()).matmul(a.value()));
        }

        @Override
        public LowRank update(Tensor w) {
            return new LowRank() {
                @Override
                public Tensor a() {
                    return a.value();
                }

                @Override
                public Tensor b() {
                    return w.matmul(a.value().t());
                }

                @Override
                public double scale() {
                    return -1;
                }

                @Override
                public double dropout() {
                    return 0;
                }
            };
        }
    }

    @Test
    void trainingThroughOneMatrixIsAddingAndScaling() {
        Parameter delta = parameter("delta", OUT, IN);
        Parameter a = parameter("A", 2, IN);
        Parameter b = parameter("B", OUT, 2);
        Parameter m = parameter("m", OUT);
        Parameter f = parameter("f", IN, IN);
        Adapter.Builder all = Adapter.builder("all", Device.CPU);
        trainedAsUsed(
                all,
                List.of(delta, a, b, m, f),
                (WeightDelta) delta::value,
                LowRank.of(a, b, 0.5, 0),
                (Magnitude) m::value,
                new Turn(f, false));
    }

    @Test
    void aMatrixIsTurnedInPlaceOfRows() {
        Parameter m = parameter("m", OUT);
        Parameter f = parameter("f", IN, IN);
        Parameter g = parameter("g", IN, IN);
        trainedAsUsed(
                Adapter.builder("turn", Device.CPU),
                List.of(m, f, g),
                (Magnitude) m::value,
                new Turn(f, true),
                new Turn(g, true));
    }

    @Test
    void anInputUpdateOfLowRankIsAnUpdateOfTheProduct() {
        Parameter a = parameter("A", 2, IN);
        Parameter m = parameter("m", OUT);
        trainedAsUsed(Adapter.builder("mirror", Device.CPU), List.of(a, m), new Mirror(a), (Magnitude) m::value);
    }
}
