package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.MalformedFileException;

class LabelsTest {
    @TempDir
    Path temporary;

    @Test
    void foundLabelsAreSortedAndGivenOnesKeepTheirOrder() throws IOException {
        Path file = Files.writeString(
                temporary.resolve("a.jsonl"),
                "{\"t\":\"x\",\"l\":\"spam\"}\n{\"t\":\"y\",\"l\":\"ham\"}\n{\"t\":\"z\",\"l\":\"spam\"}\n");

        assertThat(Labels.find(file, "t", "l").names()).containsExactly("ham", "spam");
        assertThat(Labels.of(List.of("spam", "ham")).names()).containsExactly("spam", "ham");
    }

    @Test
    void labelThatIsNotListedNamesFileAndLine() {
        Labels labels = Labels.of(List.of("ham", "spam"));
        Row row = new Row("x", "spma", Map.of(), Path.of("train.jsonl"), 12);

        assertThatThrownBy(() -> labels.index(row))
                .isInstanceOf(MalformedFileException.class)
                .hasMessage("train.jsonl: line 12: label 'spma' is not in labels [ham, spam]; did you mean 'spam'?");
    }

    @Test
    void fewerThanTwoLabelsAreAnError() throws IOException {
        Path file = Files.writeString(temporary.resolve("a.jsonl"), "{\"t\":\"x\",\"l\":\"spam\"}\n");

        assertThatThrownBy(() -> Labels.find(file, "t", "l"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("received only [spam]");
        assertThatThrownBy(() -> Labels.of(List.of("a"))).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void doubleLabelIsAnError() {
        assertThatThrownBy(() -> Labels.of(List.of("a", "b", "a"))).hasMessageContaining("got 'a' twice");
    }
}
