package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;

class TargetsTest {
    private static final List<String> PATHS = List.of(
            "bert.encoder.layer.0.attention.self.query",
            "bert.encoder.layer.0.attention.self.value",
            "bert.encoder.layer.0.output.dense");

    @Test
    void namesAreSortedWithoutDoubles() {
        assertThat(Targets.names("value", "query", "value").toTree()).isEqualTo(List.of("query", "value"));
    }

    @Test
    void stringIsARegularExpressionUnlessItSaysAllLinear() {
        assertThat(Targets.of("all-linear")).isEqualTo(Targets.allLinear());
        assertThat(Targets.of("ALL-Linear")).isEqualTo(Targets.allLinear());
        assertThat(Targets.of(".*query")).isEqualTo(Targets.regex(".*query"));
        assertThat(Targets.of(null)).isEqualTo(Targets.modelDefault());
    }

    @Test
    void modelDefaultHasToBeResolvedFirst() {
        assertThatThrownBy(() -> Targets.modelDefault().matches("query")).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void messageForNoMatchNamesTheNearestModule() {
        assertThat(Targets.names("qeury").noMatch(PATHS))
                .isEqualTo("targets: no module is named qeury; did you mean 'query'?");
        assertThat(Targets.names("q_proj").noMatch(PATHS))
                .isEqualTo("targets: no module is named q_proj; known: dense, query, value");
    }

    @Test
    void messageForANameWrittenAsAStringSaysThatItIsAnExpression() {
        assertThat(Targets.of("query").noMatch(PATHS)).endsWith("write the list [query]");
    }

    @Test
    void namesThatMatchNothingAreFound() {
        assertThat(Targets.names("query", "keys").unmatched(PATHS)).containsExactly("keys");
    }

    @Test
    void emptyListIsRefused() {
        assertThatThrownBy(() -> Targets.names(List.of())).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void brokenExpressionIsRefusedAtOnce() {
        assertThatThrownBy(() -> Targets.of("(")).isInstanceOf(IllegalArgumentException.class);
    }
}
