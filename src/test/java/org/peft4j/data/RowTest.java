package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.error.MalformedFileException;

class RowTest {
    @TempDir
    Path temporary;

    @Test
    void givesWhatColumnsHold() throws IOException {
        Row row =
                json("{\"t\": \"ä\", \"w\": [\"a\", \"\"], \"l\": [\"x\", 1.0, true, 0.50], \"none\": [], \"n\": 0.25,"
                        + " \"zero\": null}");
        assertThat(row.text("t")).isEqualTo("ä");
        assertThat(row.texts("w")).containsExactly("a", "");
        assertThat(row.labelsOf("l")).containsExactly("x", "1", "true", "0.5");
        assertThat(row.labelsOf("none")).isEmpty();
        assertThat(row.number("n")).isEqualTo(0.25);
        assertThat(row.has("t")).isTrue();
        assertThat(row.has("zero")).as("null is nothing").isFalse();
        assertThat(row.has("T")).isFalse();
    }

    @ParameterizedTest
    @CsvSource({"1, 1", "-2.50, -2.5", "1e-3, 0.001", "+.5, 0.5", "' 7. ', 7", "1E5, 100000"})
    void numbersMayBeTextsAsInCsv(String text, double number) throws IOException {
        assertThat(csv("n\n\"" + text + "\"\n").number("n")).isEqualTo(number);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "\"abc\"   | expected a number in column 'x', received 'abc'",
                "\"\"      | expected a number in column 'x', received an empty text",
                "\"NaN\"   | expected a number in column 'x', received 'NaN'",
                "\"0x1p3\" | expected a number in column 'x', received '0x1p3'",
                "\"1,5\"   | expected a number in column 'x', received '1,5'",
                "NaN       | expected a number in column 'x', received the number NaN",
                "-Infinity | expected a number in column 'x', received the number -Infinity",
                "true      | expected a number in column 'x', received the boolean true",
                "null      | expected a number in column 'x', received null",
                "[1]       | expected a number in column 'x', received an array",
                "1e39      | expected a number of at most 3.4028235E38 in column 'x', received 1E+39",
                "\"1e999999999\" | expected a number of at most 3.4028235E38 in column 'x', received 1e999999999",
            })
    void whatIsNoNumberIsTold(String value, String message) {
        assertThatThrownBy(() -> json("{\"x\": " + value + "}").number("x"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessage(temporary.resolve("a.jsonl") + ": line 1: " + message);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "\"a b\"      | received a text; write the rows as JSONL, with a list such as [\"a\", \"b\"] there",
                "[\"a\", 1]   | expected a list of strings in column 'x', received the number 1 in place 2",
                "[null]       | expected a list of strings in column 'x', received null in place 1",
                "{}           | expected a list of strings in column 'x', received an object",
                "[\"\\udc00\"] | half a character",
            })
    void whatIsNoListOfTextsIsTold(String value, String message) {
        assertThatThrownBy(() -> json("{\"x\": " + value + "}").texts("x"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("a.jsonl: line 1: ")
                .hasMessageContaining(message);
    }

    @Test
    void labelsOfOneTextAreAListOfLabels() throws IOException {
        assertThatThrownBy(() -> csv("labels\na;b\n").labelsOf("labels"))
                .hasMessageContaining("line 2: expected a list of labels in column 'labels', received a text; write")
                .hasMessageContaining("JSONL");
        assertThatThrownBy(() -> json("{\"x\": [\"a\", \"\"]}").labelsOf("x"))
                .hasMessageContaining("expected a list of labels in column 'x', received an empty text in place 2");
        assertThatThrownBy(() -> json("{\"x\": [\"a\", [\"b\"]]}").labelsOf("x"))
                .hasMessageContaining("received an array in place 2");
        assertThatThrownBy(() -> json("{\"lables\": []}").labelsOf("labels"))
                .hasMessageContaining("no column 'labels' in this row; did you mean 'lables'?");
    }

    @Test
    void rowsFromMemoryAreTheSameRows() throws IOException {
        AtomicBoolean closed = new AtomicBoolean();
        Map<String, Object> second = new HashMap<>();
        second.put("text", null);
        Stream<Map<String, Object>> stream = Stream.of(
                        Map.<String, Object>of("text", "a", "label", 1.0, "score", 0.5f), second)
                .onClose(() -> closed.set(true));
        try (RowReader reader = RowReader.of(stream)) {
            Row row = reader.next();
            assertThat(row.text("text")).isEqualTo("a");
            assertThat(row.label("label")).isEqualTo("1");
            assertThat(row.number("score")).isEqualTo(0.5);
            assertThat(row.where()).isEqualTo("row 1 of the stream");
            Row other = reader.next();
            assertThatThrownBy(() -> other.text("text"))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessage("the stream: row 2: expected a string in column 'text', received null");
            assertThat(reader.next()).isNull();
        }
        assertThat(closed).isTrue();
    }

    @Test
    void wrongRowsFromMemoryAreTold() throws IOException {
        List<Map<String, Object>> none = new ArrayList<>();
        try (RowReader reader = RowReader.of(none.iterator())) {
            assertThatThrownBy(reader::next).hasMessage("the stream: no row in it; at least one is needed");
        }
        List<@Nullable Map<String, Object>> rows = Arrays.asList(Map.of("a", Path.of("x")), null);
        try (RowReader reader = RowReader.of(rows.iterator())) {
            Row row = reader.next();
            assertThatThrownBy(() -> row.text("a")).hasMessageContaining("received a value of ");
            assertThatThrownBy(() -> row.text("b")).hasMessageContaining("row 1: no column 'b' in this row");
            assertThatThrownBy(reader::next)
                    .hasMessage("the stream: row 2: expected a map from column to value, received null");
        }
    }

    @Test
    void aMapThatItsOwnerChangesLaterIsNotChangedHere() throws IOException {
        Map<String, Object> map = new HashMap<>(Map.of("text", "a", "n", new BigDecimal("1.10")));
        try (RowReader reader = RowReader.of(List.of(map).iterator())) {
            Row row = reader.next();
            map.put("text", "b");
            assertThat(row.text("text")).isEqualTo("a");
            assertThat(row.label("n")).isEqualTo("1.1");
        }
    }

    private Row json(String content) throws IOException {
        return only(Files.writeString(temporary.resolve("a.jsonl"), content));
    }

    private Row csv(String content) throws IOException {
        return only(Files.writeString(temporary.resolve("a.csv"), content));
    }

    private static Row only(Path file) throws IOException {
        try (RowReader reader = RowReader.open(file, List.of())) {
            return reader.next();
        }
    }
}
