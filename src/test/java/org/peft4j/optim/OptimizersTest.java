package org.peft4j.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.Fixtures;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** Where optimisers take parameters, as build-scripts/fixtures/optimizers.py does with torch, transformers and a formula. */
class OptimizersTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final Map<String, TensorData> EXPECTED =
            Fixtures.read(Fixtures.ROOT.resolve("optimizers.safetensors"));
    private static final List<String> NAMES = List.of("wide", "tall", "vector", "three");
    private static final int STEPS = 12;
    private static final List<Integer> TOLD = List.of(1, 6, 12);
    private static final double MAX_NORM = 3;
    private static final double EXACT = 2e-6;

    /** Torch's iterations are in bfloat16, whose products other processors round otherwise. */
    private static final double HALF = 4e-3;

    record Case(String name, double rate, double decay, UpdateRule rule, double tolerance) {
        @Override
        public String toString() {
            return name;
        }
    }

    private static Muon muon(ScalarType type) {
        return new Muon(0.95, true, 5, Muon.Length.ORIGINAL, type);
    }

    private static Muon likeAdamW(ScalarType type) {
        return new Muon(0.9, false, 3, Muon.Length.MATCH_RMS_ADAMW, type);
    }

    static Stream<Case> cases() {
        return Stream.of(
                new Case("sgd", 0.05, 0.1, new Sgd(0, 0, false), EXACT),
                new Case("sgd-momentum", 0.05, 0.1, new Sgd(0.9, 0.2, false), EXACT),
                new Case("sgd-nesterov", 0.05, 0.1, new Sgd(0.9, 0, true), EXACT),
                new Case("adamw", 0.02, 0.1, new AdamW.Rule(0.8, 0.98, 1e-6), EXACT),
                new Case("lion", 0.01, 0.3, new Lion(0.9, 0.99), EXACT),
                new Case("adafactor", 0.05, 0.02, new Adafactor(false, false, false, 1, -0.8, null), EXACT),
                new Case("adafactor-scaled", 0.05, 0.02, new Adafactor(true, false, false, 1, -0.8, null), EXACT),
                new Case(
                        "adafactor-relative", Double.NaN, 0.02, new Adafactor(true, true, false, 1, -0.8, null), EXACT),
                new Case("adafactor-warmup", Double.NaN, 0, new Adafactor(true, true, true, 0.5, -0.6, 0.9), EXACT),
                new Case("adafactor-beta1", 0.05, 0.02, new Adafactor(false, false, false, 1, -0.8, 0.9), EXACT),
                new Case("muon-float32", 0.02, 0.1, muon(ScalarType.Float), 1e-5),
                new Case("muon-like-adamw-float32", 0.02, 0.1, likeAdamW(ScalarType.Float), 1e-5),
                new Case("muon", 0.02, 0.1, muon(ScalarType.BFloat16), HALF),
                new Case("muon-like-adamw", 0.02, 0.1, likeAdamW(ScalarType.BFloat16), HALF));
    }

    /** The fixture's parameters, in two groups. */
    static final class Run implements AutoCloseable {
        private final Map<String, Parameter> parameters = new LinkedHashMap<>();
        private final Device device;
        private final boolean scheduled;
        final Optimizer optimizer;

        Run(Case of) {
            this(of, Device.CPU);
        }

        Run(Case of, Device device) {
            this.device = device;
            scheduled = !Double.isNaN(of.rate());
            for (String name : NAMES) {
                TensorData start = EXPECTED.get("start." + name);
                long[] shape = start.shape().stream().mapToLong(Long::longValue).toArray();
                parameters.put(
                        name, Parameter.of(name, "all", () -> Tensors.ofFloats(device, start.toFloats(), shape)));
            }
            optimizer = new RuleOptimizer(
                    of.rule(),
                    List.of(
                            new ParameterGroup("first", of.rate(), of.decay(), list("wide", "vector")),
                            new ParameterGroup("second", of.rate(), of.decay(), list("tall", "three"))));
        }

        private List<Parameter> list(String... names) {
            return Stream.of(names).map(parameters::get).toList();
        }

        /** Gradients as the fixture has them: noise, and half of the parameter. */
        private void backward(int step) {
            try (PointerScope scope = new PointerScope()) {
                parameters.forEach((name, parameter) -> {
                    if (name.equals("vector") && (step == 4 || step == 5)) {
                        return;
                    }
                    float[] all = EXPECTED.get("noise." + name).toFloats();
                    int elements = (int) parameter.elements();
                    float[] own = java.util.Arrays.copyOfRange(all, (step - 1) * elements, step * elements);
                    Tensor value = parameter.value();
                    Tensor loss = value.mul(Tensors.ofFloats(device, own, parameter.shape()))
                            .sum()
                            .add(value.mul(value).sum().mul(new Scalar(0.25)));
                    loss.backward();
                });
            }
        }

        double step(int step) {
            backward(step);
            return optimizer.step(factor(step), MAX_NORM);
        }

        private double factor(int step) {
            return scheduled ? 1 - (step - 1) / 20.0 : 1;
        }

        /** Without waiting; the caller closes the norm. */
        Tensor stepAhead(int step) {
            backward(step);
            return optimizer.stepAhead(factor(step), MAX_NORM);
        }

        Map<String, float[]> values() {
            return parameters.entrySet().stream()
                    .collect(Collectors.toMap(
                            Map.Entry::getKey,
                            entry -> Tensors.toFloats(entry.getValue().value())));
        }

        @Override
        public void close() {
            optimizer.close();
            parameters.values().forEach(Parameter::close);
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void theyGoWhereTheLibrariesGo(Case of) {
        try (Run run = new Run(of)) {
            for (int step = 1; step <= STEPS; step++) {
                double norm = run.step(step);
                if (of.name().equals("sgd")) {
                    assertThat(norm).isCloseTo(EXPECTED.get("norms").toFloats()[step - 1], Offset.offset(1e-4));
                }
                int at = TOLD.indexOf(step);
                if (at < 0) {
                    continue;
                }
                int told = step;
                run.values().forEach((name, values) -> {
                    float[] all = EXPECTED.get(of.name() + "." + name).toFloats();
                    float[] expected = java.util.Arrays.copyOfRange(all, at * values.length, (at + 1) * values.length);
                    assertThat(maxDifference(values, expected))
                            .as("%s behind step %d", name, told)
                            .isLessThan(of.tolerance());
                });
            }
            assertThat(run.optimizer.steps("vector")).isEqualTo(STEPS - 2);
            assertThat(run.optimizer.steps("wide")).isEqualTo(STEPS);
        }
    }

    /** Of some steps, what is known goes to another optimiser; the rest of the way is the same, bit by bit. */
    @ParameterizedTest
    @MethodSource("cases")
    void fromItsStateAnotherGoesOnToTheSameBits(Case of) {
        Map<String, float[]> whole;
        try (Run run = new Run(of)) {
            for (int step = 1; step <= 10; step++) {
                run.step(step);
            }
            whole = run.values();
        }
        try (Run first = new Run(of);
                Run second = new Run(of)) {
            for (int step = 1; step <= 5; step++) {
                first.step(step);
            }
            OptimizerState state = first.optimizer.state();
            assertThat(state.rule()).isEqualTo(of.rule().name());
            assertThat(state.parameters().get("vector").steps()).isEqualTo(3);
            long kept = state.parameters().values().stream()
                    .flatMap(parameter -> parameter.tensors().values().stream())
                    .mapToLong(Tensor::numel)
                    .sum();
            assertThat(of.rule().kept(first.optimizer.groups())).isEqualTo(kept);
            second.optimizer.restore(state);
            first.values().forEach((name, values) -> second.parameters.get(name).set(values));
            first.step(6); // the state was copied
            for (int step = 6; step <= 10; step++) {
                second.step(step);
            }
            second.values()
                    .forEach((name, values) -> assertThat(values).as(name).containsExactly(whole.get(name)));
        }
    }

    /** As with clipping and waiting, bit by bit, and without a number that anybody reads. */
    @ParameterizedTest
    @MethodSource("cases")
    void stepsAheadAreTheSame(Case of) {
        try (Run one = new Run(of);
                Run other = new Run(of)) {
            for (int step = 1; step <= 3; step++) {
                double norm = one.step(step);
                Tensor unread = other.stepAhead(step);
                assertThat(unread.item_double()).isEqualTo(norm);
                unread.close();
            }
            Map<String, float[]> expected = one.values();
            other.values().forEach((name, values) -> assertThat(values).as(name).containsExactly(expected.get(name)));
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void aNormThatIsNotFiniteChangesNothing(Case of) {
        try (Run run = new Run(of)) {
            run.step(1);
            Map<String, float[]> before = run.values();
            run.backward(2);
            try (PointerScope scope = new PointerScope()) {
                run.parameters.get("wide").value().grad().mul_(new Scalar(Double.POSITIVE_INFINITY));
            }
            assertThat(run.optimizer.step(1, MAX_NORM)).isNotFinite();
            run.values().forEach((name, values) -> assertThat(values).as(name).containsExactly(before.get(name)));
            assertThat(run.optimizer.steps("wide")).isEqualTo(1);
        }
    }

    @Test
    void whatIsKeptOfAMatrix() {
        try (Run run = new Run(new Case("", 1, 0, new Sgd(0, 0, false), 0))) {
            List<ParameterGroup> wide = List.of(new ParameterGroup("", 1, 0, run.list("wide")));
            List<ParameterGroup> vector = List.of(new ParameterGroup("", 1, 0, run.list("vector")));
            List<Long> kept = new ArrayList<>();
            cases().forEach(of -> kept.add(of.rule().kept(wide)));
            assertThat(kept).containsExactly(0L, 24L, 24L, 48L, 24L, 10L, 10L, 10L, 34L, 34L, 24L, 24L, 24L, 24L);
            assertThat(muon(ScalarType.Float).kept(vector)).isEqualTo(10);
            assertThat(new Adafactor(true, false, false, 1, -0.8, null).kept(vector))
                    .isEqualTo(5);
        }
    }

    @Test
    void aStateOfSomethingElseIsRefusedAndNothingIsTaken() {
        Case lion = new Case("lion", 0.01, 0, new Lion(0.9, 0.99), 0);
        Case adafactor = new Case("adafactor", 0.01, 0, new Adafactor(false, false, false, 1, -0.8, null), 0);
        try (Run run = new Run(lion);
                Run other = new Run(adafactor);
                Run withMoment = new Run(new Case("", 0.01, 0, new Adafactor(false, false, false, 1, -0.8, 0.9), 0))) {
            run.step(1);
            other.step(1);
            OptimizerState state = run.optimizer.state();
            assertThatThrownBy(() -> other.optimizer.restore(state))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("is of lion, but it is to go on with adafactor");
            assertThatThrownBy(() -> withMoment.optimizer.restore(other.optimizer.state()))
                    .hasMessageContaining("must be [exp_avg, exp_avg_sq_row, exp_avg_sq_col]");
            Map<String, OptimizerState.OfParameter> parameters = new LinkedHashMap<>(state.parameters());
            parameters.put("more", parameters.get("wide"));
            refused(run, parameters, "no parameter of this optimiser: more");
            parameters.remove("more");
            parameters.put("wide", parameters.get("tall"));
            refused(run, parameters, "exp_avg of wide must be float32 with shape [4, 6], got Float with [7, 3]");
            try (PointerScope scope = new PointerScope()) {
                Tensor rounded =
                        Device.CPU.move(state.parameters().get("wide").tensors().get("exp_avg"), ScalarType.Half);
                parameters.put("wide", new OptimizerState.OfParameter(1, Map.of("exp_avg", rounded)));
                refused(run, parameters, "must be float32 with shape [4, 6], got Half with [4, 6]");
            }
            parameters.remove("wide");
            refused(run, parameters, "has nothing of wide");
            assertThat(run.optimizer.steps("wide")).isEqualTo(1);
            assertThatThrownBy(() -> new OptimizerState.OfParameter(-1, Map.of()))
                    .hasMessageContaining("got -1");
        }
    }

    private static void refused(Run run, Map<String, OptimizerState.OfParameter> parameters, String message) {
        assertThatThrownBy(() -> run.optimizer.restore(new OptimizerState("lion", parameters)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(message);
    }

    /** B's gradient in the metric of A; what is no B goes by its own. */
    @Test
    void loraFaGoesByItsFormula() {
        try (Run run = new Run(new Case("", 1, 0, new Sgd(0, 0, false), 0));
                Parameter a = Parameter.of("a", "all", () -> Tensors.ofFloats(new float[] {1, 2, 0, 0, 1, 3}, 2, 3));
                Parameter b = Parameter.of("b", "all", () -> Tensors.ofFloats(new float[] {1, 1}, 1, 2));
                Parameter c = Parameter.of("c", "all", () -> Tensors.ofFloats(new float[] {1, 1}, 1, 2));
                Optimizer optimizer = new RuleOptimizer(
                        new LoraFa(List.of(new LowRankPair(a, b, 2))),
                        List.of(new ParameterGroup("all", 0.1, 0.5, List.of(b, c))))) {
            float[] gradient = {3e-6f, -1e-6f}; // as small as ε, so that their size counts
            try (PointerScope scope = new PointerScope()) {
                for (Parameter parameter : List.of(b, c)) {
                    parameter
                            .value()
                            .mul(Tensors.ofFloats(gradient, 1, 2))
                            .sum()
                            .backward();
                }
            }
            optimizer.step(1, 0);
            // A Aᵀ = [[5, 2], [2, 10]]; its inverse [[10, -2], [-2, 5]] / 46
            double[] projected = {(3e-6 * 10 + 1e-6 * 2) / 46 / 4, (-3e-6 * 2 - 1e-6 * 5) / 46 / 4};
            for (int i = 0; i < 2; i++) {
                assertThat((double) Tensors.toFloats(b.value())[i]).isCloseTo(adam(projected[i]), Offset.offset(1e-6));
                assertThat((double) Tensors.toFloats(c.value())[i]).isCloseTo(adam(gradient[i]), Offset.offset(1e-6));
            }
            assertThat(Tensors.toFloats(a.value())).containsExactly(1, 2, 0, 0, 1, 3);
            assertThat(optimizer.state().parameters().keySet()).isEqualTo(Set.of("b", "c"));
        }
    }

    /** A first step from 1, with ε behind the correction of the length, and decay behind the step. */
    private static double adam(double gradient) {
        double length = 0.1 * Math.sqrt(1 - 0.999) / (1 - 0.9);
        double there = 1 - length * 0.1 * gradient / (Math.sqrt(0.001) * Math.abs(gradient) + 1e-6);
        return there * (1 - 0.1 * 0.5);
    }

    @Test
    void nothingIsLeftBehind() {
        for (int round = 0; round < 2; round++) {
            long before = Ops.liveBytes();
            cases().forEach(of -> {
                try (Run run = new Run(of)) {
                    run.step(1);
                    run.step(2);
                }
            });
            if (round == 1) { // classes are loaded
                assertThat(Ops.liveBytes()).isEqualTo(before);
            }
        }
    }
}
