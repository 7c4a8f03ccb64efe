package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

/** The bindings; native/test has the formulas. */
class NormRotaryMlpTest extends WithPointerScope {
    private static Tensor tensor(float... values) {
        return torch.tensor(values);
    }

    private static float[] values(Tensor t) {
        Tensor contiguous = t.detach().contiguous();
        float[] values = new float[(int) contiguous.numel()];
        new FloatPointer(contiguous.data_ptr_float()).get(values);
        return values;
    }

    @Test
    void rmsNormGivesRowsAndResidualStream() {
        Tensor x = tensor(3, 4).view(1, 2).requires_grad_(true),
                residual = tensor(1, 0).view(1, 2);
        Ops.Normed normed = Ops.rmsNorm(x, residual, tensor(1, -1), 0, 1, 0, 1);
        assertThat(values(normed.z())).containsExactly(4, 4);
        assertThat(values(normed.y())).containsExactly(new float[] {2, 0}, within(1e-6f));
        normed.z().sum().backward();
        assertThat(values(x.grad())).containsExactly(1, 1);
        assertThat(values(Ops.rmsNorm(x, null, tensor(1, 1), 0, 0, 0, 1).z())).containsExactly(3, 4);
    }

    @Test
    void rotaryTurnsQueriesAndKeys() {
        Tensor q = tensor(1, 0, 5, 1, 0, 5).view(2, 1, 3).requires_grad_(true),
                k = q.detach().mul(new Scalar(2));
        Ops.Rotated rotated = Ops.rotary(q, k, torch.arange(new Scalar(2)), tensor((float) Math.PI / 2), 1, true);
        assertThat(values(rotated.q())).containsExactly(new float[] {1, 0, 5, 0, 1, 5}, within(1e-6f));
        assertThat(values(rotated.k())).containsExactly(new float[] {2, 0, 10, 0, 2, 10}, within(1e-6f));
        rotated.q().sum().backward();
        assertThat(values(q.grad())).containsExactly(new float[] {1, 1, 1, 1, -1, 1}, within(1e-6f));
    }

    @Test
    void gatedMlpKnowsEveryActivation() {
        Tensor gate = tensor(1, -1).view(1, 2).requires_grad_(true),
                up = tensor(2, 2).view(1, 2);
        float[][] expected = {{1.462117f, -0.537883f}, {1.682689f, -0.317311f}, {1.682384f, -0.317616f}, {2, 0}};
        for (Ops.Activation activation : Ops.Activation.values()) {
            assertThat(values(Ops.gatedMlp(gate, up, activation)))
                    .as(activation.name())
                    .containsExactly(expected[activation.ordinal()], within(1e-6f));
        }
        Ops.gatedMlp(gate, up, Ops.Activation.RELU).sum().backward();
        assertThat(values(gate.grad())).containsExactly(2, 0);
    }

    @Test
    void mistakesNameOperationAndArgument() {
        Tensor x = tensor(1, 2).view(1, 2);
        assertThatThrownBy(() -> Ops.rmsNorm(x, null, tensor(1), 0, 0, 0, 1))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("rms_norm: weight must have shape [C] = [2], got [1]");
        assertThatThrownBy(() -> Ops.rotary(x, x, tensor(0), tensor(1), 1, false))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("rotary: q must have shape [T, heads, D], got [1, 2]");
        assertThatThrownBy(() -> Ops.gatedMlp(x, tensor(1), Ops.Activation.SILU))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("gated_mlp: up must have shape that of gate = [1, 2], got [1]");
    }
}
