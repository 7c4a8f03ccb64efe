package org.peft4j.method.spi;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;

/** What PEFT computes from a file, whose patterns it sorts when it saves it again, is what is computed here. */
class PatternRuleTest {
    private static final List<String> PATHS = List.of(
            "bert.encoder.layer.0.attention.self.query",
            "bert.encoder.layer.1.attention.self.query",
            "bert.encoder.layer.1.attention.self.value",
            "classifier");

    private static final UnaryOperator<String> BARE = path -> path.substring(path.indexOf('.') + 1);

    private static Map<String, Double> patterns(Object... pairs) {
        Map<String, Double> patterns = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            patterns.put((String) pairs[i], ((Number) pairs[i + 1]).doubleValue());
        }
        return patterns;
    }

    private static List<Double> alphas(Map<String, Double> patterns) {
        LoraLayers layers = new LoraLayers(LoraConfig.builder()
                .targets("query", "value")
                .alphaPattern(patterns)
                .build());
        return PATHS.stream().map(layers::alpha).toList();
    }

    @Test
    void patternsWhoseOrderDoesNotDecideAreSorted() {
        Map<String, Double> given = patterns("value", 3, "layer.0.*query", 2, "absent", 9);
        assertThat(PatternRule.RANKS.free(given, PATHS).keySet()).containsExactly("absent", "layer.0.*query", "value");
        Map<String, Double> same = patterns("query", 2, "layer.0.*query", 2);
        assertThat(PatternRule.RANKS.free(same, PATHS).keySet()).containsExactly("layer.0.*query", "query");
    }

    @Test
    void patternsWhoseOrderDecidesAreWrittenOutForEachModule() {
        Map<String, Double> given = patterns("query", 2, "layer.0.*query", 5, "value", 3);
        assertThat(alphas(given)).as("sorting changes the meaning").isNotEqualTo(alphas(new TreeMap<>(given)));
        Map<String, Double> free = PatternRule.RANKS.free(given, PATHS);
        assertThat(alphas(free)).isEqualTo(alphas(given));
        Map<String, Double> reversed = new TreeMap<>(java.util.Comparator.reverseOrder());
        reversed.putAll(free);
        assertThat(alphas(reversed)).isEqualTo(alphas(given));
        assertThat(free)
                .containsEntry("^bert\\.encoder\\.layer\\.0\\.attention\\.self\\.query", 2.0)
                .hasSize(3);
    }

    @Test
    void patternsThatMeanTheSameOfOtherPathsStay() {
        Map<String, Double> patterns = patterns("value", 3, "query", 2);
        assertThat(PatternRule.RANKS.respelled(patterns, PATHS, UnaryOperator.identity(), BARE))
                .isSameAs(patterns);
    }

    @Test
    void othersBecomePatternsOfTheOtherPaths() {
        Map<String, Double> patterns = patterns("^bert.encoder.layer.0.attention.self.query", 2, "value", 3);
        assertThat(PatternRule.RANKS.respelled(patterns, PATHS, UnaryOperator.identity(), BARE))
                .containsExactly(
                        Map.entry("^encoder\\.layer\\.0\\.attention\\.self\\.query", 2.0),
                        Map.entry("^encoder\\.layer\\.1\\.attention\\.self\\.value", 3.0));
    }
}
