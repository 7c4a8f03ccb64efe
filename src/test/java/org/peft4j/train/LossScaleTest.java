package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class LossScaleTest {
    private final LossScale scale = new LossScale();

    @Test
    void beginsAt65536AndIsHalvedByAnOverflow() {
        assertThat(scale.value()).isEqualTo(65536);
        assertThat(scale.overflowed()).isTrue();
        assertThat(scale.value()).isEqualTo(32768);
        assertThat(scale.overflows()).isEqualTo(1);
    }

    @Test
    void isDoubledAfter2000GoodStepsInARow() {
        fit(1999);
        scale.overflowed();
        fit(1999);
        assertThat(scale.value()).isEqualTo(32768);
        fit(1);
        assertThat(scale.value()).isEqualTo(65536);
        fit(2000);
        assertThat(scale.value()).isEqualTo(131072);
    }

    @Test
    void givesUpBelow1() {
        for (int i = 0; i < 16; i++) {
            assertThat(scale.overflowed()).as("overflow %d", i).isTrue();
        }
        assertThat(scale.value()).isEqualTo(1);
        assertThat(scale.overflowed()).isFalse();
    }

    private void fit(int steps) {
        for (int i = 0; i < steps; i++) {
            scale.fits();
        }
    }
}
