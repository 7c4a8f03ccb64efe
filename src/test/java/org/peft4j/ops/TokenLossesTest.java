package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.Tensors;

/** The binding; the numbers are native/test's matter. */
class TokenLossesTest extends WithPointerScope {
    private static final float[] HIDDEN = {1, 0, 0, 1, 2, 2};
    private static final float[] HEAD = {1, 0, 0, 1, 1, 1, -1, 0};
    private static final float[] BIAS = {0.5f, 0, -1, 0};
    private static final float[] A = {1, -1};
    private static final float[] B = {0, 2, 1, 0};
    private static final long[] LABELS = {2, -100, 3};
    private static final int V = 4;

    /** Of row and label; z = hidden headᵀ + bias + scale (hidden Aᵀ) Bᵀ. */
    private static double logProbability(int row, int label, boolean bias, double scale) {
        double x = HIDDEN[2 * row];
        double y = HIDDEN[2 * row + 1];
        double sum = 0;
        double chosen = 0;
        for (int v = 0; v < V; v++) {
            double z =
                    x * HEAD[2 * v] + y * HEAD[2 * v + 1] + (bias ? BIAS[v] : 0) + scale * (x * A[0] + y * A[1]) * B[v];
            sum += Math.exp(z);
            chosen = v == label ? z : chosen;
        }
        return chosen - Math.log(sum);
    }

    private static Tensor hidden() {
        return Tensors.ofFloats(HIDDEN, 3, 2).requires_grad_(true);
    }

    private static Tensor head() {
        return Tensors.ofFloats(HEAD, V, 2);
    }

    private static Tensor labels() {
        return Tensors.ofLongs(LABELS, 3);
    }

    @Test
    void weighsEachRowsGradient() {
        try (Weight weight = Weight.of(List.of(head()))) {
            Tensor hidden = hidden();
            Tensor losses = Ops.tokenLosses(hidden, weight, null, List.of(), 0, labels(), Ops.LossSettings.PLAIN);
            float[] found = Tensors.toFloats(losses);
            assertThat((double) found[0]).isCloseTo(-logProbability(0, 2, false, 0), within(1e-5));
            assertThat(found[1]).isZero();
            assertThat((double) found[2]).isCloseTo(-logProbability(2, 3, false, 0), within(1e-5));
            float[] weights = {3, 7, -0.5f};
            losses.mul(Tensors.ofFloats(weights, 3)).sum().backward();
            float[] gradient = Tensors.toFloats(hidden.grad());
            for (int t = 0; t < 3; t++) {
                for (int c = 0; c < 2; c++) {
                    double expected = 0;
                    for (int v = 0; v < V && LABELS[t] >= 0; v++) {
                        double share = Math.exp(logProbability(t, v, false, 0)) - (v == LABELS[t] ? 1 : 0);
                        expected += weights[t] * share * HEAD[2 * v + c];
                    }
                    assertThat((double) gradient[2 * t + c]).isCloseTo(expected, within(1e-5));
                }
            }
        }
    }

    @Test
    void hasABiasAndLowRankUpdates() {
        try (Weight weight = Weight.of(List.of(head()))) {
            Tensor bias = Tensors.ofFloats(BIAS, V).requires_grad_(true);
            Tensor a = Tensors.ofFloats(A, 1, 2).requires_grad_(true);
            Tensor b = Tensors.ofFloats(B, V, 1).requires_grad_(true);
            Ops.LowRankUpdate update = new Ops.LowRankUpdate(new Ops.PartRows(0, 2, 3), a, b, 0.5, 0);
            Tensor losses =
                    Ops.tokenLosses(hidden(), weight, bias, List.of(update), 0, labels(), Ops.LossSettings.PLAIN);
            float[] found = Tensors.toFloats(losses);
            assertThat((double) found[0]).isCloseTo(-logProbability(0, 2, true, 0), within(1e-5));
            assertThat((double) found[2]).isCloseTo(-logProbability(2, 3, true, 0.5), within(1e-5));
            losses.sum().backward();
            float[] gradient = Tensors.toFloats(bias.grad());
            for (int v = 0; v < V; v++) {
                double expected = Math.exp(logProbability(0, v, true, 0)) + Math.exp(logProbability(2, v, true, 0.5));
                expected -= v == 2 || v == 3 ? 1 : 0;
                assertThat((double) gradient[v]).isCloseTo(expected, within(1e-5));
            }
            assertThat(a.grad().defined() && b.grad().defined()).isTrue();
        }
    }

    @Test
    void trainsTheHeadItself() {
        Tensor w = head().requires_grad_(true);
        Ops.tokenLosses(hidden(), w, null, labels(), Ops.LossSettings.PLAIN)
                .sum()
                .backward();
        float[] gradient = Tensors.toFloats(w.grad());
        for (int v = 0; v < V; v++) {
            double first = Math.exp(logProbability(0, v, false, 0)) - (v == 2 ? 1 : 0);
            double last = Math.exp(logProbability(2, v, false, 0)) - (v == 3 ? 1 : 0);
            for (int c = 0; c < 2; c++) {
                assertThat((double) gradient[2 * v + c])
                        .isCloseTo(first * HIDDEN[c] + last * HIDDEN[4 + c], within(1e-5));
            }
        }
    }

    @Test
    void hasTheirSumMeanAndNegative() {
        try (Weight weight = Weight.of(List.of(head()))) {
            double sum = -logProbability(0, 2, false, 0) - logProbability(2, 3, false, 0);
            Tensor hidden = hidden();
            assertThat(Ops.lmLoss(hidden, weight, labels(), 0, 0, Ops.Reduction.SUM)
                            .item_double())
                    .isCloseTo(sum, within(1e-5));
            assertThat(Ops.lmLoss(hidden, weight, labels(), 0, 0, Ops.Reduction.MEAN)
                            .item_double())
                    .isCloseTo(sum / 2, within(1e-5));
            float[] found = Tensors.toFloats(Ops.tokenLogProbs(hidden, weight, labels(), 0));
            assertThat((double) found[0]).isCloseTo(logProbability(0, 2, false, 0), within(1e-5));
            assertThat(found[1]).isZero();
            Tensor none = Tensors.ofLongs(new long[] {-100, -100, -100}, 3);
            assertThatThrownBy(() -> Ops.lmLoss(hidden, weight, none, 0, 0, Ops.Reduction.MEAN))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("all 3 rows are left out");
        }
    }

    @Test
    void refusesALabelOutsideOfTheVocabulary() {
        Tensor wrong = Tensors.ofLongs(new long[] {0, 4, 0}, 3);
        try (Weight weight = Weight.of(List.of(head()))) {
            assertThatThrownBy(
                            () -> Ops.tokenLosses(hidden(), weight, null, List.of(), 0, wrong, Ops.LossSettings.PLAIN))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("label 1 must be in [0, 4)");
        }
        assertThatThrownBy(() -> Ops.tokenLosses(hidden(), head(), null, wrong, Ops.LossSettings.PLAIN))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("label 1 must be in [0, 4)");
    }
}
