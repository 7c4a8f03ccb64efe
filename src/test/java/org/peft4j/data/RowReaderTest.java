package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.error.MalformedFileException;

class RowReaderTest {
    @TempDir
    Path temporary;

    @Test
    void readsJsonLinesWithEveryField() throws IOException {
        Path file = write(
                "a.jsonl",
                "\uFEFF{\"text\": \"hällo\", \"label\": \"x\", \"id\": 1.10}\r\n\n{\"label\":true,\"text\":\"\"}");

        List<LabelledRow> rows = LabelledRow.readAll(file, "text", "label");

        assertThat(rows).extracting(LabelledRow::text).containsExactly("hällo", "");
        assertThat(rows).extracting(LabelledRow::label).containsExactly("x", "true");
        assertThat(rows).extracting(LabelledRow::line).containsExactly(1L, 3L);
        assertThat(rows.get(0).fields().keySet()).containsExactly("text", "label", "id");
        assertThat(rows.get(0).fields().get("id")).as("all digits kept").hasToString("1.10");
        assertThat(rows.get(0).where()).isEqualTo(file + ", line 1");
    }

    @Test
    void readsCsvWithQuotesAndLineBreaks() throws IOException {
        Path file = write("a.CSV", "\uFEFFtext,label\r\n\"one, \"\"two\"\"\nthree\",0\r\nfour,1\r\n");

        List<LabelledRow> rows = LabelledRow.readAll(file, "text", "label");

        assertThat(rows).extracting(LabelledRow::text).containsExactly("one, \"two\"\nthree", "four");
        assertThat(rows).extracting(LabelledRow::label).containsExactly("0", "1");
        assertThat(rows).extracting(LabelledRow::line).containsExactly(2L, 4L);
    }

    @Test
    @Timeout(20)
    void waitsForNoLineBehindTheOneThatIsThere() throws IOException {
        try (PipedOutputStream program = new PipedOutputStream();
                PipedInputStream pipe = new PipedInputStream(program)) {
            program.write("{\"text\":\"one\"}\n".getBytes(StandardCharsets.UTF_8));
            RowReader reader = RowReader.of(Path.of("-"), pipe, List.of());
            assertThat(reader.ready()).isTrue();
            assertThat(reader.next().fields()).containsEntry("text", "one");
            assertThat(reader.ready()).isFalse();
            program.write("{\"text\":\"two\"}\n".getBytes(StandardCharsets.UTF_8));
            assertThat(reader.ready()).isTrue();
            assertThat(reader.next().fields()).containsEntry("text", "two");
            program.close();
            assertThat(reader.next()).isNull();
        }
    }

    @Test
    void givesNoLabelWhereNoneIsAskedFor() throws IOException {
        Path file = write("a.jsonl", "{\"text\":\"x\"}");
        assertThat(LabelledRow.readAll(file, "text", null).get(0).label()).isNull();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"txt\":\"x\",\"label\":\"a\"} | line 2: no column 'text' in this row; did you mean 'txt'?",
                "{\"text\":7,\"label\":\"a\"} | line 2: expected a string in column 'text', received the number 7",
                "{\"text\":null,\"label\":\"a\"} | line 2: expected a string in column 'text', received null",
                "{\"text\":[\"x\"],\"label\":\"a\"} | line 2: expected a string in column 'text', received an array",
                "{\"text\":\"x\"} | line 2: no column 'label' in this row",
                "{\"text\":\"x\",\"label\":null} | line 2: expected a label in column 'label', received null",
                "{\"text\":\"x\",\"label\":\"\"} | line 2: expected a label in column 'label', received an empty text",
                "{\"text\":\"x\",\"label\":{}} | line 2: expected a label in column 'label', received an object",
                "{\"text\":\"x\",\"label\":[\"a\"]} | line 2: expected a label in column 'label', received an array; several",
                "{\"text\":\"x\",\"label\":NaN} | line 2: expected a label in column 'label', received the number NaN",
                "{\"text\":\"x\",\"label\":-Infinity} | line 2: expected a label in column 'label', received the number -Inf",
                "{\"text\":\"\\ud83d\",\"label\":\"a\"} | line 2: half a character",
                "{\"text\":\"x\",\"n\":1e999999999999} | line 2: not valid JSON: a number that is too large",
                "{\"text\":\"x\" | line 2, column 12: not valid JSON: it ends before the '}' that closes the object",
                "{\"text\":\"x\"} {} | line 2: expected one JSON object on each line, received more",
                "{\"text\":\"x\",\"text\":\"y\"} | line 2, column 19: not valid JSON: duplicate key 'text'",
                "{\"text\":NaN} | line 2: expected a string in column 'text', received the number NaN",
                "[\"text\"] | line 2: expected a JSON object",
                "hello | line 2: expected a JSON object",
            })
    void badRowIsAnErrorWithFileAndLine(String row, String message) throws IOException {
        Path file = write("a.jsonl", "{\"text\":\"x\",\"label\":\"a\"}\n" + row + "\n");

        assertThatThrownBy(() -> LabelledRow.readAll(file, "text", "label"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(file + ": " + message);
    }

    @Test
    void deeplyNestedRowIsAnErrorAndNoStackOverflow() throws IOException {
        Path file = write("a.jsonl", "{\"text\":" + "[".repeat(100_000));
        assertThatThrownBy(() -> LabelledRow.readAll(file, "text", null))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("line 1");
    }

    @ParameterizedTest
    @CsvSource({"a.jsonl,''", "a.jsonl,' \n\n'", "a.csv,''", "a.csv,'text,label\n'"})
    void fileWithoutARowIsAnError(String name, String content) throws IOException {
        Path file = write(name, content);
        assertThatThrownBy(() -> LabelledRow.readAll(file, "text", "label"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(file + ": no row in the file");
    }

    @ParameterizedTest
    @CsvSource({"a.jsonl, 'line 2: byte 10'", "a.csv, 'line 2: byte 10'"})
    void bytesThatAreNotUtf8AreAnError(String name, String where) throws IOException {
        Path file = temporary.resolve(name);
        Files.write(file, (name.endsWith("csv") ? "text\n" : "{\"text\":\"x\"}\n").getBytes(StandardCharsets.UTF_8));
        try (OutputStream out = Files.newOutputStream(file, java.nio.file.StandardOpenOption.APPEND)) {
            out.write("{\"text\":\"ä\"}\n".getBytes(StandardCharsets.ISO_8859_1));
        }
        assertThatThrownBy(() -> LabelledRow.readAll(file, "text", null))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(where)
                .hasMessageContaining("not UTF-8");
    }

    @ParameterizedTest
    @CsvSource({"a.jsonl, line 1: a row of more than", "a.csv, line 2: a row of more than"})
    void rowAboveSixteenMebibytesIsAnError(String name, String message) throws IOException {
        Path file = temporary.resolve(name);
        byte[] chunk = new byte[1 << 20];
        Arrays.fill(chunk, (byte) 'x');
        try (OutputStream out = Files.newOutputStream(file)) {
            out.write((name.endsWith("csv") ? "text\n\"" : "{\"text\":\"").getBytes(StandardCharsets.UTF_8));
            for (int i = 0; i < 17; i++) {
                out.write(chunk);
            }
            out.write((name.endsWith("csv") ? "\"\n" : "\"}\n").getBytes(StandardCharsets.UTF_8));
        }
        assertThatThrownBy(() -> LabelledRow.readAll(file, "text", null))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(message);
    }

    @Test
    void otherEndingsAndMissingFilesAreErrors() throws IOException {
        Path parquet = write("a.parquet", "x");
        assertThatThrownBy(() -> LabelledRow.readAll(parquet, "text", null))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(".jsonl, .ndjson, .csv or .tsv");
        assertThatThrownBy(() -> LabelledRow.readAll(temporary.resolve("no.jsonl"), "text", null))
                .isInstanceOf(NoSuchFileException.class)
                .hasMessageContaining("no such file");
    }

    private Path write(String name, String content) throws IOException {
        return Files.writeString(temporary.resolve(name), content);
    }
}
