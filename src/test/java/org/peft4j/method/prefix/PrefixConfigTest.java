package org.peft4j.method.prefix;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;

class PrefixConfigTest {
    @Test
    void refusesAPrefixWithoutTokens() {
        assertThatThrownBy(() -> PrefixConfig.of(0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("virtualTokens must be at least 1, got 0");
    }

    @Test
    void refusesANegativeWidth() {
        assertThatThrownBy(() -> new PrefixConfig(1, true, -1, InitPrefix.ZERO, List.of()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("encoderHiddenSize");
    }

    @Test
    void refusesAWidthWithoutAProjection() {
        assertThatThrownBy(() -> new PrefixConfig(1, false, 64, InitPrefix.ZERO, List.of()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("encoderHiddenSize has no meaning without a projection, got 64");
    }
}
