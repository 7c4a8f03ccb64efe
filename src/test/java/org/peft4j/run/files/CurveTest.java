package org.peft4j.run.files;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class CurveTest {
    @Test
    void longCurvesAreThinnedButKeepTheirShape() {
        Curve curve = new Curve();
        for (int i = 0; i < 1_000_000; i++) {
            curve.add(i, 2.0 * i);
        }
        assertThat(curve.size()).isBetween(Curve.MAX_POINTS / 2 - 1, Curve.MAX_POINTS);
        for (int i = 0; i < curve.size(); i++) {
            assertThat(curve.y()[i]).isCloseTo(2 * curve.x()[i], within(1e-6));
        }
        assertThat(curve.lastX()).isGreaterThan(998_000);
    }

    @Test
    void valuesThatAreNoNumbersAreLeftOut() {
        Curve curve = new Curve();
        curve.add(1, Double.NaN);
        curve.add(2, Double.POSITIVE_INFINITY);
        assertThat(curve.isEmpty()).isTrue();
        curve.add(3, 5);
        assertThat(curve.x()).containsExactly(3);
    }

    @Test
    void smoothingKeepsTheNumberOfPointsAndTheMean() {
        Curve curve = new Curve();
        for (int i = 0; i < 400; i++) {
            curve.add(i, i % 2 == 0 ? 1 : 3);
        }
        Curve smooth = curve.smoothed();
        assertThat(smooth.size()).isEqualTo(400);
        assertThat(Arrays.stream(smooth.y()).min().orElseThrow()).isGreaterThan(1.8);
        assertThat(Arrays.stream(smooth.y()).max().orElseThrow()).isLessThan(2.2);
    }
}
