package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Packing;

/** The binding against the formulas, written with tensor operations; native/test has every type and size. */
class PromptGeneratorTest extends WithPointerScope {
    private static final int D = 12;
    private static final int M = 5;
    private static final int P = 4;
    private static final int ROWS = 16;
    private static final long[] INSTRUCTION = {1, 1, 0, 1, 0, 0, /**/ 1, /**/ 0, 1, 1, 1, 0, 1, 0, 0, 0};

    private static Packing packing() {
        return Packing.of(6, 0, 1, 9);
    }

    private static Tensor instruction() {
        return Tensors.ofLongs(INSTRUCTION, INSTRUCTION.length).to(ScalarType.Bool);
    }

    private static Tensor hidden() {
        return Init.normal(3, "h", 1, ROWS, D);
    }

    /** What is trained, in the order of the results of {@link #gradients}. */
    private static List<Tensor> parameters(boolean biases) {
        List<Tensor> all = new ArrayList<>(List.of(
                Init.normal(3, "down", 0.3, M, D),
                Init.normal(3, "pool", 1, P, M),
                Init.normal(3, "numerator", 1, 1, 6),
                Init.normal(3, "denominator", 1, 1, 4),
                Init.normal(3, "up", 0.5, D, M)));
        if (biases) {
            all.add(Init.normal(3, "down bias", 1, M));
            all.add(Init.normal(3, "up bias", 1, D));
        }
        all.forEach(t -> t.requires_grad_(true));
        return all;
    }

    private static Ops.PromptGenerator generator(List<Tensor> p) {
        boolean biases = p.size() > 5;
        return new Ops.PromptGenerator(
                p.get(0),
                biases ? p.get(5) : null,
                p.get(1),
                new Ops.Rational(Ops.RationalVersion.A, p.get(2), p.get(3), 0),
                p.get(4),
                biases ? p.get(6) : null);
    }

    private static Tensor prompts(Tensor h, List<Tensor> parameters) {
        return Ops.promptGenerator(h, packing().cuSeqlens(), instruction(), generator(parameters));
    }

    private static Tensor linear(Tensor x, Tensor weight, Tensor bias) {
        Tensor y = torch.matmul(x, weight.t());
        return bias == null ? y : y.add(bias);
    }

    /** Version A. */
    private static Tensor rational(Tensor x, Tensor numerator, Tensor denominator) {
        Tensor p = Tensors.zeros(1);
        for (int i = 0; i < 6; i++) {
            p = p.add(x.pow(new Scalar(i)).mul(numerator.select(1, i)));
        }
        Tensor q = torch.ones(1);
        for (int j = 1; j <= 4; j++) {
            q = q.add(
                    x.abs().pow(new Scalar(j)).mul(denominator.select(1, j - 1).abs()));
        }
        return p.div(q);
    }

    private static Tensor formula(Tensor h, List<Tensor> parameters) {
        Ops.PromptGenerator g = generator(parameters);
        Packing packing = packing();
        TensorVector pooled = new TensorVector();
        for (int s = 0; s < packing.sequences(); s++) {
            long[] rows = IntStream.range((int) packing.begin(s), (int) packing.end(s))
                    .filter(row -> INSTRUCTION[row] != 0)
                    .asLongStream()
                    .toArray();
            Tensor z = linear(h.index_select(0, Tensors.ofLongs(rows, rows.length)), g.downWeight(), g.downBias());
            Tensor a = linear(z, g.poolWeight(), null).softmax(0);
            pooled.push_back(torch.matmul(a.t(), z));
        }
        Tensor c = torch.cat(pooled).view(packing.sequences(), P, M);
        Ops.Rational activation = g.activation();
        return linear(rational(c, activation.numerator(), activation.denominator()), g.upWeight(), g.upBias());
    }

    /** Of p's sum with fixed factors: of h, then of the parameters. */
    private static List<float[]> gradients(Tensor p, Tensor h, List<Tensor> parameters) {
        p.mul(Init.normal(3, "dp", 1, Tensors.shape(p))).sum().backward();
        List<float[]> all = new ArrayList<>(List.of(Tensors.toFloats(h.grad())));
        parameters.forEach(t -> all.add(Tensors.toFloats(t.grad())));
        return all;
    }

    private static void assertClose(String what, float[] found, float[] expected) {
        double most = 1e-3;
        for (float v : expected) {
            most = Math.max(most, Math.abs(v));
        }
        assertThat(found).as(what).containsExactly(expected, within((float) (1e-5 * most)));
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void followsItsFormulasAndTheirGradients(boolean biases) {
        List<Tensor> own = parameters(biases), other = parameters(biases);
        Tensor h = hidden().requires_grad_(true), otherH = hidden().requires_grad_(true);
        Tensor p = prompts(h, own), expected = formula(otherH, other);
        assertThat(Tensors.shape(p)).containsExactly(4, P, D);
        assertClose("prompts", Tensors.toFloats(p), Tensors.toFloats(expected));
        List<float[]> found = gradients(p, h, own), right = gradients(expected, otherH, other);
        for (int i = 0; i < right.size(); i++) {
            assertClose("gradient " + i, found.get(i), right.get(i));
        }
    }

    @Test
    void otherRowsHaveNoInfluence() {
        List<Tensor> parameters = parameters(true);
        Tensor noise = Init.normal(4, "noise", 10, ROWS, D);
        Tensor others = instruction().logical_not().unsqueeze(1);
        Tensor changed = hidden().add(noise.mul(others));
        assertThat(prompts(changed, parameters).equal(prompts(hidden(), parameters)))
                .isTrue();
    }

    @Test
    void aSequenceWithoutInstructionGetsThePromptOfZero() {
        List<Tensor> parameters = parameters(true);
        float[] p = Tensors.toFloats(prompts(hidden(), parameters).select(0, 1).select(0, 0));
        Tensor zero = rational(Tensors.zeros(M), parameters.get(2), parameters.get(3));
        assertClose("prompt", p, Tensors.toFloats(linear(zero, parameters.get(4), parameters.get(6))));
    }

    @Test
    void bfloat16RowsGiveBfloat16Prompts() {
        List<Tensor> parameters = parameters(true);
        Tensor h = hidden().to(ScalarType.BFloat16).requires_grad_(true);
        Tensor p = prompts(h, parameters), expected = formula(h.to(ScalarType.Float), parameters);
        assertThat(p.scalar_type().intern()).isEqualTo(ScalarType.BFloat16);
        assertThat(p.sub(expected).abs().max().item_double())
                .isLessThanOrEqualTo(expected.abs().max().item_double() / 256);
        p.sum().backward();
        assertThat(h.grad().scalar_type().intern()).isEqualTo(ScalarType.BFloat16);
        assertThat(parameters.get(0).grad().scalar_type().intern()).isEqualTo(ScalarType.Float);
    }

    @Test
    void mistakesNameOperationAndArgument() {
        Ops.PromptGenerator g = generator(parameters(true));
        Tensor h = hidden(), mask = instruction();
        assertThatThrownBy(() -> Ops.promptGenerator(h, Packing.of(6, 9).cuSeqlens(), mask, g))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("prompt_generator: cu_seqlens must end at 16 (the rows of h), got 15");
        assertThatThrownBy(() -> Ops.promptGenerator(h, packing().cuSeqlens(), mask.narrow(0, 0, 7), g))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("prompt_generator: instruction must be bool or uint8 [16]");
        Ops.PromptGenerator narrow = new Ops.PromptGenerator(
                g.downWeight(), g.downBias(), Tensors.zeros(P, 3), g.activation(), g.upWeight(), g.upBias());
        assertThatThrownBy(() -> Ops.promptGenerator(h, packing().cuSeqlens(), mask, narrow))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("prompt_generator: pool_weight must have shape [P, m] = [4, 5], got [4, 3]");
    }

    @Test
    void holdsNoBytesAfterItsScope() {
        long[] live = new long[4];
        for (int i = 0; i < live.length; i++) {
            try (PointerScope step = new PointerScope()) {
                List<Tensor> parameters = parameters(true);
                Tensor h = hidden().requires_grad_(true);
                gradients(prompts(h, parameters), h, parameters);
            }
            live[i] = Ops.liveBytes();
        }
        assertThat(Arrays.stream(live).distinct()).hasSize(1);
    }
}
