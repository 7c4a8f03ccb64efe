package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.ConfigException;
import org.peft4j.io.Json;

/** Trees of blocks: what they may be, as text, and as AdapterHub's setup. */
class CompositionTest {
    @ParameterizedTest
    @ValueSource(
            strings = {
                "a",
                "Stack(lang, task)",
                "Fuse(a, Stack(b, c))",
                "Average(a, b)",
                "Average(a, b; 0.3, 0.7)",
                "Average(a, Split(b, c; 3, 4), BatchSplit(d, e; 1, 2); 0.2, 0.3, 0.5)",
                "Split(a, b; 64, 64)",
                "Split(Stack(a, b), Split(c, d; 1, 1), Average(e, f), BatchSplit(g, h; 1, 1); 1, 2, 3, 4)",
                "BatchSplit(a, Stack(b, c), Average(d, e); 1, 2, 3)",
                "Parallel(a, Stack(b, c), Average(d, e), BatchSplit(f, g; 1, 1))",
                "Stack(a, Parallel(b, c))",
                "Stack(\"a b\", \"with \\\"quotes\\\" and \\\\\")",
                "Stack(Stack, a-b.c_d)",
                "Stack(größe, 名)"
            })
    void textIsReadAndWritten(String text) {
        Composition read = Composition.parse(text);
        assertThat(read).hasToString(text);
        assertThat(Composition.parse(read.toString())).isEqualTo(read).hasSameHashCodeAs(read);
        Composition again = Composition.ofSetup(read.setup());
        assertThat(again).isEqualTo(read instanceof Composition.Name ? Composition.stack(read) : read);
        assertThat(Composition.ofSetupJson(Json.write(Map.of("adapter_setup", read.setup()))))
                .isEqualTo(again);
    }

    @Test
    void factoriesMakeWhatTextSays() {
        assertThat(Composition.stack("lang", "task")).isEqualTo(Composition.parse(" Stack ( lang ,task ) "));
        assertThat(Composition.average(List.of(3.0, 7.0), "a", "b"))
                .isEqualTo(Composition.parse("Average(a, b; 0.3, 0.7)"))
                .isEqualTo(Composition.parse("Average(a, b; 3, 7)"));
        assertThat(Composition.average("a", "b", "c"))
                .isEqualTo(Composition.parse("Average(a, b, c; 0.1, 0.1, 0.1)"))
                .hasToString("Average(a, b, c)");
        assertThat(Composition.split(List.of(5, 5), "a", "b")).isEqualTo(Composition.parse("Split(a, b; 5)"));
        assertThat(Composition.batchSplit(List.of(1, 2), Composition.of("a"), Composition.stack("b", "c")))
                .hasToString("BatchSplit(a, Stack(b, c); 1, 2)");
        assertThat(Composition.parallel(Composition.stack("a", "b"), Composition.of("a"))
                        .names())
                .containsExactly("a", "b");
        assertThat(Composition.stack(Composition.of("l"), Composition.fuse("a", "b"))
                        .dividesRows())
                .isFalse();
        assertThat(Composition.parse("Stack(l, BatchSplit(a, b; 1, 1))").dividesRows())
                .isTrue();
    }

    /** As AdapterHub's library writes it. */
    @Test
    void theSetupIsAdapterHubs() {
        assertThat(Composition.parse("Stack(lang, Average(a, b; 0.25, 0.75))").setup())
                .isEqualTo(Map.of(
                        "type",
                        "Stack",
                        "children",
                        List.of(
                                Map.of("type", "single", "children", List.of("lang")),
                                Map.of(
                                        "type",
                                        "Average",
                                        "children",
                                        List.of(
                                                Map.of("type", "single", "children", List.of("a")),
                                                Map.of("type", "single", "children", List.of("b"))),
                                        "kwargs",
                                        Map.of("weights", List.of(0.25, 0.75))))));
        assertThat(Composition.ofSetupJson("""
                        {"type": "Split", "kwargs": {"splits": 64}, "children": [
                         {"type": "single", "children": ["a"]}, {"type": "single", "children": ["b"]}]}""")).hasToString("Split(a, b; 64, 64)");
        assertThat(Composition.parse("BatchSplit(a, b; 1, 2)").setup())
                .containsEntry("kwargs", Map.of("batch_sizes", List.of(1, 2)));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "''                          | character 1: expected the name of an adapter or of a block",
                "Stack(a,                    | character 9: expected the name",
                "Stack(a b)                  | character 9: expected ',', ';' or ')', got 'b)'",
                "Stack(a, b                  | character 11: expected ',', ';' or ')', got the end",
                "Stack(a) b                  | character 10: expected nothing more",
                "Stapel(a, b)                | character 1: expected one of the blocks",
                "Stack()                     | Stack needs at least one child, got none",
                "Stack(a, Average())         | character 10: Average needs at least one child",
                "Stack(a, Stack(b, c))       | got Stack(b, c); write its children into the outer one",
                "Fuse(a, Average(b, c))      | Fuse takes names of adapters and Stack, got Average(b, c)",
                "Average(a, Average(b, c))   | Average takes names of adapters and Stack, Split, BatchSplit",
                "Average(a, Parallel(b, c))  | got Parallel(b, c)",
                "Parallel(a, Split(b, c; 1)) | Parallel takes names of adapters and Stack, BatchSplit, Average",
                "Parallel(a, Stack(b, Parallel(c, d))) | a Parallel cannot be within a Parallel",
                "Parallel(a, a)              | Parallel needs branches that differ",
                "Stack(a, b; 1, 2)           | Stack takes no numbers, got [1, 2]",
                "Split(a, b)                 | Split needs a size for each of its 2 children, got 0",
                "Split(a, b; 1, 2, 3)        | Split needs a size for each of its 2 children, got 3",
                "Split(a, b; 0, 2)           | Split needs sizes of at least 1, got [0, 2]",
                "BatchSplit(a, b; -1, 2)     | BatchSplit needs sizes of at least 1, got [-1, 2]",
                "Split(a, b; 1.5, 2)         | a size must be a whole number, got 1.5",
                "Split(a, b; 2147483647, 1)  | a sum below 2^31",
                "Average(a, b; 1)            | Average needs a weight for each of its 2 children, or none at all, got 1",
                "Average(a, b; 0, 1)         | Average needs weights above 0, got [0.0, 1.0]",
                "Average(a, b; -0.5, 1)      | Average needs weights above 0",
                "Average(a, b; NaN, 1)       | Average needs weights above 0",
                "Average(a, b; Infinity, 1)  | Average needs finite weights",
                "Average(a, b; x, 1)         | a weight must be a number, got x",
                "Average(a, b; 1e308, 1e308, 1) | got 3",
                "Average(a, b; 1e-300, 1e300) | above 0 beside each other",
                "Average(a, b; )             | expected a number",
                "\"a                         | expected '\"' behind the name",
                "\"\"                        | got a blank one",
            })
    void aWrongTextIsRefusedWithItsPlace(String text, String message) {
        assertThatThrownBy(() -> Composition.parse(text))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("composition '" + text + "'")
                .hasMessageContaining(message.strip());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "[]                                             | expected an object with type and children, got []",
                "{                                              | no valid JSON",
                "{\"type\": \"Stack\"}                          | children must be a list, got null",
                "{\"type\": \"Pile\", \"children\": []}         | type must be Stack, Fuse",
                "{\"type\": \"Stack\", \"children\": []}        | Stack needs at least one child",
                "{\"type\": \"Stack\", \"children\": [\"a\"]}   | expected children that are objects, got \"a\"",
                "{\"type\": \"single\", \"children\": [1]}      | single has one name, got [ 1 ]",
                "{\"type\": \"Stack\", \"children\": [], \"x\": 1} | a block has type, children and kwargs, got x",
                "{\"type\": \"Stack\", \"children\": [{\"type\": \"single\", \"children\": [\"a\"]}], \"kwargs\": {\"x\": 1}}"
                        + " | Stack takes of kwargs none, got x",
                "{\"type\": \"Split\", \"children\": [{\"type\": \"single\", \"children\": [\"a\"]}]}"
                        + " | splits must be a list, got null",
                "{\"type\": \"Split\", \"children\": [{\"type\": \"single\", \"children\": [\"a\"]}],"
                        + " \"kwargs\": {\"splits\": [1.5]}} | splits must be whole numbers",
                "{\"type\": \"Average\", \"children\": [{\"type\": \"single\", \"children\": [\"a\"]}],"
                        + " \"kwargs\": {\"weights\": [\"x\"]}} | weights must be numbers",
                "{\"type\": \"Average\", \"children\": [{\"type\": \"single\", \"children\": [\"a\"]}],"
                        + " \"kwargs\": {\"weights\": [2], \"normalize_weights\": false}} | normalize_weights true alone",
            })
    void aWrongSetupIsRefused(String json, String message) {
        assertThatThrownBy(() -> Composition.ofSetupJson(json))
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("adapter setup: ")
                .hasMessageContaining(message.strip());
    }

    @Test
    void blocksWithinEachOtherHaveALimit() {
        String deep = "Split(".repeat(40) + "a" + "; 1)".repeat(40);
        assertThatThrownBy(() -> Composition.parse(deep))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("at most 32 blocks");
        Map<String, Object> setup = Map.of("type", "single", "children", List.of("a"));
        for (int i = 0; i < 40; i++) {
            setup = Map.of("type", "Split", "children", List.of(setup), "kwargs", Map.of("splits", List.of(1)));
        }
        Map<String, Object> made = setup;
        assertThatThrownBy(() -> Composition.ofSetup(made)).isInstanceOf(ConfigException.class);
        assertThat(Composition.parse("Split(".repeat(32) + "a" + "; 1)".repeat(32))
                        .names())
                .containsExactly("a");
        assertThatThrownBy(() -> new Composition.Stack(Collections.emptyList()))
                .isInstanceOf(IllegalArgumentException.class);
    }
}
