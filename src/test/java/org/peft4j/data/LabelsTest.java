package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;

class LabelsTest {
    private static List<String> sorted(String... texts) {
        Map<String, Long> counts = new LinkedHashMap<>();
        for (String text : texts) {
            counts.merge(text, 1L, Long::sum);
        }
        return List.copyOf(Labels.sorted(counts).keySet());
    }

    @Test
    void textsAreSortedByTheirLettersAndGivenOnesKeepTheirOrder() {
        assertThat(sorted("spam", "ham", "spam", "Spam", "ham ")).containsExactly("Spam", "ham", "ham ", "spam");
        assertThat(Labels.of(List.of("spam", "ham")).names()).containsExactly("spam", "ham");
    }

    @Test
    void numbersAreSortedBySize() {
        assertThat(sorted("10", "9", "0", "11", "-1", "2")).containsExactly("-1", "0", "2", "9", "10", "11");
        assertThat(sorted("10.5", "9", "2.25")).containsExactly("2.25", "9", "10.5");
        assertThat(sorted("10", "9", "x")).containsExactly("10", "9", "x");
    }

    @Test
    void spellingsOfAWholeNumberAreOneLabel() {
        assertThat(Labels.sorted(Map.of("1.0", 2L, "1", 3L, "0.00", 1L)))
                .containsExactly(Map.entry("0", 1L), Map.entry("1", 5L));
        assertThat(sorted("-0.0", "0", "1.0")).containsExactly("0", "1");
        assertThat(Labels.of(List.of("0.0", "1.0")).find("1")).hasValue(1);
        assertThat(Labels.of(List.of("0", "1")).find("1.0")).hasValue(1);
        assertThat(Labels.of(List.of("v1.0", "v1")).find("v1")).hasValue(1);
    }

    @Test
    void codesWithLeadingZerosAreTexts() {
        assertThat(sorted("01", "1", "007", "7")).containsExactly("007", "01", "1", "7");
        assertThat(Labels.of(List.of("01", "1", "x")).names()).containsExactly("01", "1", "x");
        assertThat(Labels.of(List.of("1", "2")).find("01")).isEmpty();
        assertThat(Labels.of(List.of("ham", "spam")).find("01")).isEmpty();
    }

    @Test
    void numberOfAnOutputIsALabelWhereNoNameIsANumber() {
        Labels labels = Labels.of(List.of("ham", "spam"));
        assertThat(labels.find("1")).hasValue(1);
        assertThat(labels.find("0.0")).hasValue(0);
        assertThat(labels.find("2")).isEmpty();
        assertThat(labels.find("-1")).isEmpty();
        assertThat(labels.isOutput("1")).isTrue();
        assertThat(Labels.of(List.of("1", "2")).find("0")).isEmpty();
        assertThat(Labels.of(List.of("1", "2")).find("1")).hasValue(0);
    }

    @Test
    void labelThatIsNotListedNamesFileAndLine() {
        Labels labels = Labels.of(List.of("ham", "spam"));

        assertThatThrownBy(() -> labels.index(Path.of("train.jsonl"), 12, "spma"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessage("train.jsonl: line 12: label 'spma' is not in the labels ['ham', 'spam'];"
                        + " did you mean 'spam'?");
        assertThatThrownBy(() -> labels.index(Path.of("train.jsonl"), 12, "positive"))
                .hasMessageContaining("--labels");
    }

    @Test
    void fewerThanTwoAreAnError() {
        assertThatThrownBy(() -> Labels.of(List.of("a")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("(['a'])");
    }

    @Test
    void doublesAreAnErrorAlsoInAnotherSpelling() {
        assertThatThrownBy(() -> Labels.of(List.of("a", "b", "a"))).hasMessageContaining("got 'a' twice");
        assertThatThrownBy(() -> Labels.of(List.of("1", "0", "1.0"))).hasMessageContaining("got '1.0' twice ('1'");
    }
}
