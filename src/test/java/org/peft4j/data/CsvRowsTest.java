package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.MalformedFileException;

class CsvRowsTest {
    @TempDir
    Path temporary;

    /** In the cells, ~ is a line feed and ^ a carriage return. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '!',
            quoteCharacter = '`',
            value = {
                "text,label~a,0~ ! a:0@2",
                "text,label~a,0 ! a:0@2",
                "text,label^~a,0^~^~b,1 ! a:0@2 b:1@4",
                "text,label^a,0^b,1 ! a:0@2 b:1@3",
                "~  ~text,label~~a,0~   ~b,1 ! a:0@5 b:1@7",
                "\"text\",\"label\"~\"a, \"\"b\"\"\",0 ! a, \"b\":0@2",
                "text,label~\"a~b^~\",0~c,1 ! a~b^~:0@2 c:1@5",
                "text,label~5\" pipe,0 ! 5\" pipe:0@2",
                "text,label~\"\",0 ! :0@2",
                ",text,label~0,a,x ! a:x@2",
                "label,text~0,a ! a:0@2",
            })
    void readsWhatTheStandardAllows(String content, String rows) throws IOException {
        assertThat(read(csv(content)).stream()
                        .map(row -> row.text() + ":" + row.label() + "@" + row.line())
                        .collect(Collectors.joining(" ")))
                .isEqualTo(rows.replace('~', '\n').replace('^', '\r'));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '!',
            quoteCharacter = '`',
            value = {
                "text,label~a,b,0~c,1 ! line 2: expected 2 fields as in the header (text, label), received 3; a field with a comma",
                "text,label~a,0~~c~ ! line 4: expected 2 fields as in the header (text, label), received 1",
                "text,label~\"a~b\",0~c,d,1 ! line 4: expected 2 fields",
                "text,label~a,0~\"b,1~c,0~ ! line 3: a double quote opens a field here that is never closed",
                "text,label~\"a~\",\"b~c,0~ ! line 3: a double quote opens a field here that is never closed",
                "text,label~\"a,0~\"b\",1~ ! line 3: 'b' behind a closing quote; the field's opening quote is on line 2",
                "text,label~\"a~\",\"^~b\"\"~\"🙂\",0~ ! line 5: '🙂' behind a closing quote; the field's opening quote is on line 3",
                "text,label~\"a^b\",\"\"c~ ! line 3: 'c' behind a closing quote; the field's opening quote is on line 3",
                "text,label~a,0,\"~\",\"b~ ! line 3: a double quote opens a field here that is never closed",
                "text,label~a,\" ! line 2: a double quote opens a field here that is never closed",
                "text,text~a,b ! line 1: two columns are called 'text' (columns 1 and 2)",
                "~text,label,,~a,0,, ! line 2: two columns have no name (columns 3 and 4)",
                "body,label~a,0 ! line 1: no column 'text' in the header; known: body, label",
                "tex,label~a,0 ! line 1: no column 'text' in the header; did you mean 'tex'?",
                "text;label~a;0 ! line 1: no column 'text' in the header, which is separated by semicolons; expected commas: convert",
                "text\tlabel~a\t0 ! line 1: no column 'text' in the header, which is separated by tabs; expected commas: name the file .tsv",
                "text|label~a, b|0 ! line 1: no column 'text' in the header, which is separated by vertical bars",
                "{\"text\": \"a\"} ! line 1: no column 'text' in the header; the content looks like JSON",
                "text,label ! no row in the file",
                "text,label~,0~a, ! line 3: expected a label in column 'label', received an empty text",
            })
    void refusesOtherRowsWithTheirLine(String content, String message) throws IOException {
        Path file = csv(content);
        assertThatThrownBy(() -> read(file))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(file + ": " + message);
    }

    @Test
    void quoteThatSwallowsTheRestIsToldWithItsLine() throws IOException {
        Path file = csv("text,label~a,0~\"b,1~" + "c,0~".repeat((RowReader.MAX_ROW_BYTES / 4) + 10));
        assertThatThrownBy(() -> read(file))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("line 3: a double quote opens a field here that is not closed within");
    }

    /** The parser reads 8192 letters at most at once. */
    @ParameterizedTest
    @ValueSource(ints = {8189, 8190, 8191, 8192, 16382, 16383, 16384})
    void longFieldsAreReadAndJudgedAsShortOnes(int length) throws IOException {
        String text = "x".repeat(length);
        assertThat(read(csv("text,label~\"" + text + "\"\"~\",0~" + text + ",1~")))
                .extracting(LabelledRow::text)
                .containsExactly(text + "\"\n", text);
        Path wrong = csv("text,label~\"" + text + "\"b,0~");
        assertThatThrownBy(() -> read(wrong)).hasMessageContaining("line 2: 'b' behind a closing quote");
    }

    @Test
    void rowIsGivenBeforeTheNextLineIsReadAndWhatGoesWrongThereStaysWhatItIs() throws IOException {
        byte[] rows =
                ("text,label\n" + "\n".repeat(1000) + "a,0\n\"b\",1\n\"c\",\"2\"\n").getBytes(StandardCharsets.UTF_8);
        for (Throwable failure : List.of(new IOException("gone"), new OutOfMemoryError("much"))) {
            InputStream failing = new InputStream() {
                @Override
                public int read() throws IOException {
                    if (failure instanceof Error error) {
                        throw error;
                    }
                    throw (IOException) failure;
                }
            };
            InputStream in = new SequenceInputStream(new ByteArrayInputStream(rows), failing);
            try (RowReader reader = RowReader.of(Path.of("a.csv"), in, List.of("text", "label"))) {
                for (String text : List.of("a", "b", "c")) {
                    assertThat(reader.next())
                            .extracting(row -> row.text("text"))
                            .isEqualTo(text);
                }
                assertThatThrownBy(reader::next).isSameAs(failure);
            }
        }
    }

    @Test
    void readsTabsWhereTheNameSaysSo() throws IOException {
        Path file = Files.writeString(temporary.resolve("a.tsv"), "text\tlabel\na, b\t0\n\"c\td\"\t1\n");
        assertThat(read(file)).extracting(LabelledRow::text).containsExactly("a, b", "c\td");

        Path commas = Files.writeString(temporary.resolve("b.tsv"), "text,label\na,0\n");
        assertThatThrownBy(() -> read(commas)).hasMessageContaining("separated by commas; expected tabs");
    }

    @Test
    void manyColumnsAreReadOrRefusedInNoTime() throws IOException {
        String names = IntStream.range(0, 50_000).mapToObj(i -> "c" + i).collect(Collectors.joining(","));
        Path wide = csv("text,label," + names + "~a,0" + ",".repeat(50_000));
        Path wider = csv("text,label" + ",c".repeat(1_000_000) + "~a,0~");
        Path wideRow = csv("text,label~a,0" + ",c".repeat(1_000_000));
        Path missing = csv(names + "~");
        Assertions.assertTimeout(Duration.ofSeconds(20), () -> {
            assertThat(read(wide).get(0).fields()).hasSize(50_002);
            assertThatThrownBy(() -> read(wider)).hasMessageContaining("line 1: the header has 1000002 columns");
            assertThatThrownBy(() -> read(wideRow))
                    .hasMessageContaining("line 2: expected 2 fields")
                    .hasMessageContaining("1000002");
            assertThatThrownBy(() -> read(missing))
                    .hasMessageContaining("no column 'text'")
                    .message()
                    .hasSizeLessThan(3000);
        });
    }

    private static List<LabelledRow> read(Path file) throws IOException {
        return LabelledRow.readAll(file, "text", "label");
    }

    private Path csv(String content) throws IOException {
        Path file = Files.createTempFile(temporary, "rows", ".csv");
        return Files.writeString(file, content.replace('~', '\n').replace('^', '\r'));
    }
}
