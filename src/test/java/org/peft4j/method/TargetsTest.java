package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.tokens.TrainableTokensConfig;

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
    void aListOfAWordAloneMeansTheWord() {
        assertThat(Targets.names("all-linear")).isEqualTo(Targets.allLinear());
        assertThat(Targets.names("ALL-Linear", "ALL-Linear")).isEqualTo(Targets.allLinear());
        assertThat(Targets.names(List.of("model-default"))).isEqualTo(Targets.modelDefault());
        assertThat(LoraConfig.builder().targets("all-linear").build())
                .isEqualTo(LoraConfig.builder().targets(Targets.allLinear()).build());
    }

    @Test
    void aWordAmongNamesIsRefused() {
        assertThatThrownBy(() -> Targets.names("query", "all-linear"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("targets must be all-linear alone, or names without it, got [all-linear, query]");
        assertThatThrownBy(() -> LoraConfig.builder().targets("model-default", "query"))
                .hasMessage("targets must be model-default alone, or names without it, got [model-default, query]");
    }

    @Test
    void theWordIsRefusedWhereItMeansNothing() {
        assertThatThrownBy(() -> new Ia3Config(Targets.allLinear(), Targets.names("all-linear"), null, List.of()))
                .hasMessageStartingWith("feedforward must be a list of names or a regular expression");
        assertThatThrownBy(() -> new TrainableTokensConfig(List.of(1), Targets.names("all-linear"), List.of()))
                .hasMessageStartingWith("targets must name embedding tables");
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
