package org.peft4j.method.spi;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.peft4j.method.ModulePattern;

class PatternOrderTest {
    private static final List<String> PATHS = List.of("m.layers.0.query", "m.layers.0.value", "m.layers.1.query");
    private static final UnaryOperator<String> BARE = path -> path.substring(2);

    private static Map<String, Integer> patterns(String one, int first, String two, int second) {
        Map<String, Integer> patterns = new LinkedHashMap<>();
        patterns.put(one, first);
        patterns.put(two, second);
        return patterns;
    }

    @Test
    void patternsOfAnyOrderStay() {
        assertThat(PatternOrder.free(patterns("value", 3, "query", 2), PATHS))
                .containsExactly(Map.entry("query", 2), Map.entry("value", 3));
    }

    @Test
    void patternsWhoseOrderDecidesAreWrittenModuleByModule() {
        Map<String, Integer> patterns = patterns("query", 2, "0\\.query", 5); // sorted, 0.query would come first
        Map<String, Integer> free = PatternOrder.free(patterns, PATHS);
        assertThat(free)
                .containsExactly(Map.entry("^m\\.layers\\.0\\.query", 2), Map.entry("^m\\.layers\\.1\\.query", 2));
        for (String path : PATHS) {
            assertThat(ModulePattern.byEnd(free).apply(path))
                    .isEqualTo(ModulePattern.byEnd(patterns).apply(path));
        }
    }

    @Test
    void patternsThatMeanTheSameOfOtherPathsStay() {
        Map<String, Integer> patterns = patterns("value", 3, "query", 2);
        assertThat(PatternOrder.respelled(patterns, PATHS, UnaryOperator.identity(), BARE))
                .isSameAs(patterns);
    }

    @Test
    void othersBecomePatternsOfTheOtherPaths() {
        Map<String, Integer> patterns = patterns("^m.layers.0.query", 2, "value", 3);
        assertThat(PatternOrder.respelled(patterns, PATHS, UnaryOperator.identity(), BARE))
                .containsExactly(Map.entry("^layers\\.0\\.query", 2), Map.entry("^layers\\.0\\.value", 3));
    }
}
