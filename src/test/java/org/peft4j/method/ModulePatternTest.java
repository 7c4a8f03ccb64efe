package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class ModulePatternTest {
    @Test
    void matchesTheWholePathOnly() {
        assertThat(ModulePattern.of("a.*c").matches("abc")).isTrue();
        assertThat(ModulePattern.of("a.*c").matches("abcd")).isFalse();
    }

    @Test
    void readsPythonsNamedGroups() {
        assertThat(ModulePattern.of("layer\\.(?P<idx>\\d+)\\.").index("layer.12.query"))
                .hasValue(12);
    }

    @Test
    void indexIsEmptyWhereNothingMatchesOrTheNumberIsHuge() {
        ModulePattern pattern = ModulePattern.of("layer\\.(?P<idx>\\d+)\\.");
        assertThat(pattern.index("block.1.query")).isEmpty();
        assertThat(pattern.index("layer.99999999999.query")).isEmpty();
    }

    @Test
    void refusesWhatIsNoExpression() {
        assertThatThrownBy(() -> ModulePattern.of("a(b"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("'a(b' is not a regular expression");
    }

    @Test
    void refusesAnExpressionThatWouldHang() {
        ModulePattern evil = ModulePattern.of("(.*a){20}b");
        assertThatThrownBy(() -> evil.matches("a".repeat(60) + "c"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("needs more than 1000000 steps");
    }

    @Test
    void refusesAnExpressionThatWouldExhaustTheStack() {
        ModulePattern deep = ModulePattern.of("(a|b)*c");
        assertThatThrownBy(() -> deep.matches("a".repeat(400_000)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("write a simpler one");
    }
}
