package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.Tensors;

/** The binding; the numbers are native/test's matter. */
class LmLossTest {
    private static final float[] HIDDEN = {1, 0, 0, 1, 2, 2};
    private static final float[] HEAD = {1, 0, 0, 1, 1, 1, -1, 0};
    private static final long[] LABELS = {2, -100, 3};

    /** Of row and label; z = hidden headᵀ. */
    private static double logProbability(int row, int label) {
        double sum = 0;
        double chosen = 0;
        for (int v = 0; v < 4; v++) {
            double z = HIDDEN[2 * row] * HEAD[2 * v] + HIDDEN[2 * row + 1] * HEAD[2 * v + 1];
            sum += Math.exp(z);
            chosen = v == label ? z : chosen;
        }
        return chosen - Math.log(sum);
    }

    @Test
    void givesTheLossAndTheGradientOfHidden() {
        try (PointerScope scope = new PointerScope();
                Weight weight = Weight.of(List.of(Tensors.ofFloats(HEAD, 4, 2)))) {
            Tensor labels = Tensors.ofLongs(LABELS, 3);
            double sum = -logProbability(0, 2) - logProbability(2, 3);
            Tensor hidden = Tensors.ofFloats(HIDDEN, 3, 2).requires_grad_(true);
            Tensor loss = Ops.lmLoss(hidden, weight, labels, 0, 0, Ops.Reduction.SUM);
            assertThat(loss.item_double()).isCloseTo(sum, within(1e-5));
            assertThat(Ops.lmLoss(hidden, weight, labels, 0, 0, Ops.Reduction.MEAN)
                            .item_double())
                    .isCloseTo(sum / 2, within(1e-5));
            loss.backward();
            float[] gradient = Tensors.toFloats(hidden.grad());
            for (int c = 0; c < 2; c++) {
                double expected = -HEAD[2 * 2 + c];
                for (int v = 0; v < 4; v++) {
                    expected += Math.exp(logProbability(0, v)) * HEAD[2 * v + c];
                }
                assertThat((double) gradient[c]).isCloseTo(expected, within(1e-5));
                assertThat(gradient[2 + c]).isZero(); // no label
            }
        }
    }

    @Test
    void givesTheProbabilityOfEachLabel() {
        try (PointerScope scope = new PointerScope();
                Weight weight = Weight.of(List.of(Tensors.ofFloats(HEAD, 4, 2)))) {
            Tensor probabilities =
                    Ops.tokenLogProbs(Tensors.ofFloats(HIDDEN, 3, 2), weight, Tensors.ofLongs(LABELS, 3), 0);
            float[] found = Tensors.toFloats(probabilities);
            assertThat((double) found[0]).isCloseTo(logProbability(0, 2), within(1e-5));
            assertThat(found[1]).isZero();
            assertThat((double) found[2]).isCloseTo(logProbability(2, 3), within(1e-5));
        }
    }

    @Test
    void refusesALabelOutsideOfTheVocabulary() {
        try (PointerScope scope = new PointerScope();
                Weight weight = Weight.of(List.of(Tensors.ofFloats(HEAD, 4, 2)))) {
            Tensor hidden = Tensors.ofFloats(HIDDEN, 3, 2);
            Tensor labels = Tensors.ofLongs(new long[] {0, 4, 0}, 3);
            assertThatThrownBy(() -> Ops.lmLoss(hidden, weight, labels, 0, 0, Ops.Reduction.MEAN))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("label 1 must be in [0, 4)");
        }
    }
}
