package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.nn.seam.Packing;

/** Soft-cap and relative bias as Java passes them on, in float64 against the formula in plain loops; one head, one sequence. */
class AttentionTest {
    private static final int ROWS = 9;
    private static final int D = 4;
    private static final int BUCKETS = 4;
    private static final int MAX_DISTANCE = 4;
    private static final double SCALE = 3; // scores large enough for the cap

    // T5's buckets for 4 of them and distances up to 4, by hand from section 2.1: at 0, 1, … keys before the query, and
    // after.
    private static final int[] BIDIRECTIONAL_BEFORE = {0, 1, 1, 1, 1};
    private static final int[] BIDIRECTIONAL_AFTER = {0, 3, 3, 3, 3};
    private static final int[] CAUSAL_BEFORE = {0, 1, 2, 3, 3};

    private final double[] q = normal(1);
    private final double[] k = normal(2);
    private final double[] v = normal(3);
    private final double[] table = {0.5, -1.25, 2, 0.75};

    private static double[] normal(long seed) {
        return new Random(seed).doubles(ROWS * D, -1, 1).toArray();
    }

    private static Tensor tensor(double[] values, long... shape) {
        return torch.tensor(values).to(ScalarType.Double).view(shape);
    }

    private static double[] doubles(Tensor of) {
        double[] values = new double[(int) of.numel()];
        new DoublePointer(of.contiguous().data_ptr_double()).get(values);
        return values;
    }

    private static int bucket(int keyLessQuery, boolean bidirectional) {
        int far = Math.min(Math.abs(keyLessQuery), MAX_DISTANCE);
        if (!bidirectional) {
            return CAUSAL_BEFORE[keyLessQuery > 0 ? 0 : far];
        }
        return keyLessQuery > 0 ? BIDIRECTIONAL_AFTER[far] : BIDIRECTIONAL_BEFORE[far];
    }

    private double[] formula(double[] bias, boolean causal, boolean bidirectional, double softcap) {
        double[] out = new double[ROWS * D];
        for (int i = 0; i < ROWS; i++) {
            double[] p = new double[causal ? i + 1 : ROWS];
            for (int j = 0; j < p.length; j++) {
                double score = 0;
                for (int d = 0; d < D; d++) {
                    score += SCALE * q[i * D + d] * k[j * D + d];
                }
                score = softcap == 0 ? score : softcap * Math.tanh(score / softcap);
                p[j] = Math.exp(score + bias[bucket(j - i, bidirectional)]);
            }
            double sum = Arrays.stream(p).sum();
            for (int j = 0; j < p.length; j++) {
                for (int d = 0; d < D; d++) {
                    out[i * D + d] += p[j] / sum * v[j * D + d];
                }
            }
        }
        return out;
    }

    private static Ops.AttentionSettings settings(boolean causal, double softcap, Ops.RelativeBias bias) {
        return new Ops.AttentionSettings(causal, SCALE, 0, softcap, bias, Ops.Dropout.NONE);
    }

    private Tensor attention(Ops.AttentionSettings settings) {
        Tensor cu = Packing.of(ROWS).cuSeqlens();
        return Ops.attention(
                tensor(q, ROWS, 1, D),
                tensor(k, ROWS, 1, D),
                tensor(v, ROWS, 1, D),
                cu,
                cu,
                ROWS,
                ROWS,
                null,
                null,
                null,
                settings);
    }

    @ParameterizedTest
    @CsvSource({"true, false, 0", "false, true, 0", "true, false, 1.5", "false, true, 1.5"})
    void followsTheFormula(boolean causal, boolean bidirectional, double softcap) {
        try (PointerScope scope = new PointerScope()) {
            Ops.RelativeBias bias = new Ops.RelativeBias(tensor(table, BUCKETS, 1), bidirectional, MAX_DISTANCE);
            assertThat(doubles(attention(settings(causal, softcap, bias))))
                    .containsExactly(formula(table, causal, bidirectional, softcap), within(1e-12));
        }
    }

    @Test
    void softcapAlone() {
        try (PointerScope scope = new PointerScope()) {
            assertThat(doubles(attention(settings(true, 1.5, null))))
                    .containsExactly(formula(new double[BUCKETS], true, false, 1.5), within(1e-12));
        }
    }

    @Test
    void theTablesGradientIsTheFormulasSlope() {
        double step = 1e-5;
        try (PointerScope scope = new PointerScope()) {
            Tensor trained = tensor(table, BUCKETS, 1).requires_grad_(true);
            Tensor sum = attention(settings(false, 1.5, new Ops.RelativeBias(trained, true, MAX_DISTANCE)))
                    .square()
                    .sum();
            sum.backward();
            double[] slope = new double[BUCKETS];
            for (int i = 0; i < BUCKETS; i++) {
                for (int sign = -1; sign <= 1; sign += 2) {
                    double[] moved = table.clone();
                    moved[i] += sign * step;
                    double value = Arrays.stream(formula(moved, false, true, 1.5))
                            .map(x -> x * x)
                            .sum();
                    slope[i] += sign * value / (2 * step);
                }
            }
            assertThat(doubles(trained.grad())).containsExactly(slope, within(1e-8));
        }
    }

    @Test
    void refusesATableOfAnotherShape() {
        try (PointerScope scope = new PointerScope()) {
            Ops.RelativeBias bias = new Ops.RelativeBias(tensor(table, BUCKETS), true, MAX_DISTANCE);
            assertThatThrownBy(() -> attention(settings(false, 0, bias)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("attention: bias_table")
                    .hasMessageContaining("[4]");
        }
    }

    @Test
    void refusesANegativeCap() {
        try (PointerScope scope = new PointerScope()) {
            assertThatThrownBy(() -> attention(settings(false, -1, null)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("attention: softcap");
        }
    }
}
