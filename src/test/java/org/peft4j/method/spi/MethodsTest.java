package org.peft4j.method.spi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.peft4j.method.prefix.PrefixConfig;

class MethodsTest {
    @Test
    void aMethodHasTheNamesOfRunFileAndAdapterFile() {
        Method<?> method = Methods.of(PrefixConfig.defaults());
        assertThat(method.name()).isEqualTo("prefix-tuning");
        assertThat(method.peftType()).isEqualTo("PREFIX_TUNING");
        assertThat(Methods.ofPeftType("PREFIX_TUNING")).isSameAs(method);
    }

    @Test
    void refusesATypeThatItDoesNotKnow() {
        assertThatThrownBy(() -> Methods.ofPeftType("LORAA"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("peft_type 'LORAA' is not supported; supported are "
                        + Methods.all().stream().map(Method::peftType).toList());
    }

    @Test
    void noTwoHaveOneName() {
        assertThat(Methods.all()).extracting(Method::name).doesNotHaveDuplicates();
        assertThat(Methods.all()).extracting(Method::peftType).doesNotHaveDuplicates();
        assertThat(Methods.all()).extracting(Method::configType).doesNotHaveDuplicates();
    }
}
