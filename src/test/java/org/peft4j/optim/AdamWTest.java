package org.peft4j.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

class AdamWTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final double RATE = 0.1;
    private static final double DECAY = 0.5;

    private final Parameter often = parameter("often");
    private final Parameter seldom = parameter("seldom");
    private final AdamW optimizer = new AdamW(List.of(new ParameterGroup("all", RATE, DECAY, List.of(often, seldom))));

    private static Parameter parameter(String path) {
        return Parameter.of(path, "all", () -> Tensors.ofFloats(new float[] {1, -2}, 1, 2));
    }

    @AfterEach
    void close() {
        optimizer.close();
        often.close();
        seldom.close();
    }

    /** The gradient of the sum is 1 everywhere, times the factor. */
    private static void backward(Parameter parameter, double factor) {
        try (PointerScope scope = new PointerScope()) {
            parameter.value().mul(new Scalar(factor)).sum().backward();
        }
    }

    private static boolean hasGradient(Parameter parameter) {
        try (PointerScope scope = new PointerScope()) {
            return parameter.value().grad().defined();
        }
    }

    @Test
    void gradientsAreUndefinedAgainAfterAStep() {
        backward(often, 1);
        assertThat(hasGradient(often)).isTrue();
        optimizer.step(1, 0);
        assertThat(hasGradient(often)).isFalse();
        backward(often, 2);
        try (PointerScope scope = new PointerScope()) {
            assertThat(Tensors.toFloats(often.value().grad())).containsExactly(2, 2);
        }
    }

    @Test
    void whatNoRowReachedStaysAsItIs() {
        backward(often, 1);
        backward(seldom, 1);
        optimizer.step(1, 0);
        float[] before = Tensors.toFloats(seldom.value());
        for (int i = 0; i < 3; i++) {
            backward(often, 1);
            optimizer.step(1, 0);
        }
        assertThat(Tensors.toFloats(seldom.value())).as("no decay, no moment").containsExactly(before);
        assertThat(optimizer.steps("often")).isEqualTo(4);
        assertThat(optimizer.steps("seldom")).isEqualTo(1);
    }

    /** A step of a late tensor is the step that it would have had alone. */
    @Test
    void eachTensorCountsItsOwnSteps() {
        for (int i = 0; i < 5; i++) {
            backward(often, 1);
            if (i == 2 || i == 4) {
                backward(seldom, i == 2 ? 1 : 3);
            }
            optimizer.step(1, 0);
        }
        double[] theta = {1, -2};
        double m = 0;
        double v = 0;
        for (int step = 1; step <= 2; step++) {
            double g = step == 1 ? 1 : 3;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            for (int i = 0; i < 2; i++) {
                theta[i] -= RATE * DECAY * theta[i];
                theta[i] -=
                        RATE * (m / (1 - Math.pow(0.9, step))) / (Math.sqrt(v / (1 - Math.pow(0.999, step))) + 1e-8);
            }
        }
        float[] ours = Tensors.toFloats(seldom.value());
        for (int i = 0; i < 2; i++) {
            assertThat((double) ours[i]).isCloseTo(theta[i], org.assertj.core.api.Assertions.within(1e-6));
        }
    }

    @Test
    void aNormThatIsNotFiniteChangesNothing() {
        backward(often, Double.POSITIVE_INFINITY);
        backward(seldom, 1);
        assertThat(Double.isFinite(optimizer.step(1, 1))).isFalse();
        assertThat(Tensors.toFloats(often.value())).containsExactly(1, -2);
        assertThat(Tensors.toFloats(seldom.value())).containsExactly(1, -2);
        assertThat(optimizer.steps("seldom")).isZero();
        assertThat(hasGradient(often) || hasGradient(seldom)).isFalse();
    }

    /** What happens around a change sees gradients as the change does: unscaled, clipped; and nothing of a step that is left out. */
    @Test
    void aroundAChangeGradientsAreThere() {
        List<String> seen = new ArrayList<>();
        AdamW.Around around = new AdamW.Around() {
            @Override
            public void before() {
                seen.add("before " + Tensors.toFloats(often.value().grad())[0] + " "
                        + Tensors.toFloats(often.value())[0]);
            }

            @Override
            public void after() {
                seen.add("after " + Tensors.toFloats(often.value().grad())[0] + " "
                        + (Tensors.toFloats(often.value())[0] < 1));
            }
        };
        backward(often, 8);
        optimizer.step(1, 0, 4, around);
        assertThat(seen).containsExactly("before 2.0 1.0", "after 2.0 true");
        backward(often, Double.POSITIVE_INFINITY);
        optimizer.step(1, 0, 4, around);
        assertThat(seen).hasSize(2);
        backward(often, 4);
        optimizer.stepAhead(1, 0, around).close();
        assertThat(seen).hasSize(4).element(3).asString().startsWith("after 4.0");
        assertThat(hasGradient(often)).isFalse();
    }

    @Test
    void anAdapterThatNoRowReachesGetsNoGradient() {
        try (PointerScope scope = new PointerScope();
                org.peft4j.ops.Weight weight = org.peft4j.ops.Weight.of(List.of(Tensors.zeros(4, 2)))) {
            Parameter b = Parameter.of("b", "all", () -> Tensors.zeros(4, 1));
            Tensor[] y = Ops.loraLinear(
                    Tensors.ofFloats(new float[] {1, 2, 3, 4}, 2, 2),
                    weight,
                    null,
                    List.of(
                            new Ops.LowRankUpdate(new Ops.PartRows(0, 0, 2), often.value(), b.value(), 1, 0),
                            new Ops.LowRankUpdate(new Ops.PartRows(0, 2, 2), seldom.value(), b.value(), 1, 0)),
                    1);
            y[0].sum().backward();
            assertThat(hasGradient(often)).isTrue();
            assertThat(hasGradient(seldom)).isFalse();
            b.close();
        }
    }

    @Test
    void refusesAParameterInTwoGroupsAndUnknownPaths() {
        ParameterGroup group = new ParameterGroup("all", RATE, DECAY, List.of(often));
        assertThatThrownBy(() -> new AdamW(List.of(group, group))).hasMessageContaining("often");
        assertThatThrownBy(() -> optimizer.steps("nothing")).hasMessageContaining("nothing");
    }
}
