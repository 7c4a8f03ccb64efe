package org.peft4j.method.prefix;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.peft4j.method.PeftType;

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
    void typeHasTheNamesOfFileAndYaml() {
        PeftType type = PrefixConfig.defaults().peftType();
        assertThat(type.fileName()).isEqualTo("PREFIX_TUNING");
        assertThat(type.yamlName()).isEqualTo("prefix-tuning");
        assertThat(PeftType.ofFileName("PREFIX_TUNING")).isEqualTo(type);
        assertThatThrownBy(() -> PeftType.ofFileName("LORAA"))
                .hasMessageContaining("supported are [LORA, IA3, PREFIX_TUNING");
    }
}
