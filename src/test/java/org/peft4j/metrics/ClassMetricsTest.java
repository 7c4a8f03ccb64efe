package org.peft4j.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.peft4j.metrics.Evaluation.ClassScore;

class ClassMetricsTest {
    @Test
    void countsWhatIsRightAndWhatIsTakenForWhat() {
        ClassMetrics metrics = new ClassMetrics(List.of("a", "b", "c"));
        int[][] pairs = {{0, 0}, {0, 0}, {0, 1}, {1, 1}, {1, 0}, {1, 1}, {0, 0}};
        for (int[] pair : pairs) {
            float[] logits = new float[3];
            logits[pair[1]] = 1;
            metrics.add(logits, pair[0]);
        }

        Evaluation evaluation = metrics.evaluation(2);

        assertThat(evaluation.examples()).isEqualTo(7);
        assertThat(evaluation.cut()).isEqualTo(2);
        assertThat(evaluation.accuracy()).isEqualTo(5.0 / 7);
        assertThat(evaluation.confusion())
                .containsExactly(List.of(3L, 1L, 0L), List.of(1L, 2L, 0L), List.of(0L, 0L, 0L));
        assertThat(evaluation.classes())
                .containsExactly(
                        new ClassScore("a", 3.0 / 4, 3.0 / 4, 6.0 / 8, 4),
                        new ClassScore("b", 2.0 / 3, 2.0 / 3, 4.0 / 6, 3),
                        new ClassScore("c", 0, 0, 0, 0));
        assertThat(evaluation.macroF1()).isCloseTo((6.0 / 8 + 4.0 / 6) / 3, within(1e-15));
    }

    @Test
    void lossIsTheMeanCrossEntropy() {
        ClassMetrics metrics = new ClassMetrics(List.of("a", "b"));
        metrics.add(new float[] {0, 0}, 0);
        metrics.add(new float[] {2, 0}, 1);

        double expected = (Math.log(2) + Math.log(1 + Math.exp(2))) / 2;
        assertThat(metrics.evaluation(0).loss()).isCloseTo(expected, within(1e-12));
    }

    @Test
    void lossOfLargeLogitsDoesNotOverflow() {
        ClassMetrics metrics = new ClassMetrics(List.of("a", "b"));
        metrics.add(new float[] {3e38f, -3e38f}, 1);
        assertThat(metrics.evaluation(0).loss()).isCloseTo(6e38, within(1e32));
    }

    @Test
    void logitsThatAreNotNumbersGiveALossThatIsNoNumber() {
        ClassMetrics metrics = new ClassMetrics(List.of("a", "b"));
        metrics.add(new float[] {Float.NaN, 0}, 1);
        assertThat(metrics.evaluation(0).loss()).isNaN();
    }

    @Test
    void refusesTheWrongNumberOfLogitsAndNoTexts() {
        ClassMetrics metrics = new ClassMetrics(List.of("a", "b"));
        assertThatThrownBy(() -> metrics.add(new float[3], 0)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> metrics.evaluation(0)).isInstanceOf(IllegalStateException.class);
    }
}
