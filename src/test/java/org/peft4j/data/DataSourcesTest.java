package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.zip.GZIPOutputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.MalformedFileException;

/** Where rows come from: encodings, formats that are not ours, pipes, paths without a file. */
class DataSourcesTest {
    private static final String JSON = "{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\",\"label\":0}\n";
    private static final String CSV = "text,label\na,1\nb,0\n";

    @TempDir
    Path temporary;

    @ParameterizedTest
    @CsvSource({
        "UTF-16, UTF-16",
        "UTF-16LE, UTF-16",
        "UTF-16BE, UTF-16",
        "UTF-32, UTF-32",
        "UTF-32LE, UTF-32",
        "UTF-32BE, UTF-32",
        "x-UTF-16LE-BOM, UTF-16"
    })
    void otherEncodingsAreCalledByName(String charset, String name) throws IOException {
        for (String content : List.of(JSON, CSV)) {
            Path file = bytes(content.equals(CSV) ? "a.csv" : "a.jsonl", content.getBytes(Charset.forName(charset)));
            refused(file, "the text is " + name + ", expected UTF-8; convert it: iconv -f " + name);
        }
    }

    @Test
    void latinLettersAreToldWithLineAndByte() throws IOException {
        Path file = bytes("a.csv", "text,label\na,1\nb\u00e4,0\n".getBytes(StandardCharsets.ISO_8859_1));
        refused(file, "line 3: byte 2 of the line is 0xe4, which is not UTF-8", "iconv -f WINDOWS-1252", "(offset 16)");
    }

    @Test
    void filesOfOtherProgramsAreCalledByName() throws IOException {
        refused(bytes("a.csv", zip("xl/workbook.xml", "[Content_Types].xml")), "Excel workbook", "read_excel");
        refused(bytes("a.jsonl", zip("rows.jsonl")), "zip archive", "unzip");
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(packed)) {
            gzip.write(JSON.getBytes(StandardCharsets.UTF_8));
        }
        refused(bytes("a.jsonl", packed.toByteArray()), "compressed", "gzip -d");
        refused(bytes("a.csv", latin("PAR1\u0015\u0004\u0015")), "Parquet", "read_parquet");
        refused(bytes("a.jsonl", latin("\u0080\u0004\u0095\u00f0\u0001")), "pickle");
        refused(
                bytes("a.csv", latin("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")),
                "Git LFS",
                "git lfs pull");
        refused(bytes("a.jsonl", latin("\n<!DOCTYPE html>\n<html lang=en>")), "web page");
        refused(bytes("a.jsonl", latin("%PDF-1.7\n\u00e2")), "PDF");
        refused(bytes("a.jsonl", latin("\u0050\1\0\0\0\0\0\0{\"a\"")), "safetensors file");
    }

    @Test
    void columnThatIsCalledAsAFormatIsNoSuchFile() throws IOException {
        Path file = bytes("a.csv", latin("FEA1,text,label\n1,a,0\n"));
        assertThat(LabelledRow.readAll(file, "text", "label")).hasSize(1);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"{\n  \"text\": \"a\",\n  \"label\": 1\n}\n", "[\n  {\"text\": \"a\"}\n]\n", "[{\"text\":\"a\"}]"
            })
    void jsonOverSeveralLinesIsToldPlainly(String content) throws IOException {
        for (String name : List.of("a.jsonl", "a.json", "noEnding")) {
            refused(bytes(name, content.getBytes(StandardCharsets.UTF_8)), "line 1", "each line", "object", "jq -c");
        }
    }

    @Test
    void numbersThatJsonHasNotArePassedOverWhereNobodyReadsThem() throws IOException {
        Path file = bytes("a.jsonl", latin("{\"text\":\"a\",\"x\":NaN,\"y\":[Infinity,-Infinity]}\n"));
        assertThat(LabelledRow.readAll(file, "text", null).get(0).fields()).containsEntry("x", Double.NaN);
    }

    @ParameterizedTest
    @CsvSource({
        "1, 1",
        "1.0, 1",
        "1e0, 1",
        "10e-1, 1",
        "-0.0, 0",
        "0.50, 0.5",
        "120, 120",
        "1.2E2, 120",
        "1e300, 1E+300",
        "true, true"
    })
    void equalNumbersAreOneLabel(String number, String label) throws IOException {
        Path file = bytes("a.jsonl", latin("{\"text\":\"a\",\"label\":" + number + "}\n"));
        assertThat(LabelledRow.readAll(file, "text", "label").get(0).label()).isEqualTo(label);
        Path cell = bytes("a.csv", latin("text,label\na," + number + "\n"));
        assertThat(LabelledRow.readAll(cell, "text", "label").get(0).label()).isEqualTo(number);
    }

    @ParameterizedTest
    @CsvSource({"-", "/dev/stdin", "/dev/fd/0"})
    void standardInputIsReadOnceByItsName(String name) throws Exception {
        Path path = Path.of(name);
        for (String content : List.of(JSON, CSV, CSV.replace(',', '\t'))) {
            List<LabelledRow> rows = withInput(content, () -> LabelledRow.readAll(path, "text", "label"));
            assertThat(rows).extracting(LabelledRow::text).containsExactly("a", "b");
            assertThat(rows.get(0).where()).startsWith("standard input, line ");
        }
        withInput(JSON, () -> {
            LabelledRow.readAll(path, "text", null);
            refused(path, "standard input: it can be read only once");
            return null;
        });
        withInput("{\"txt\":1}", () -> {
            refused(path, "standard input: line 1: no column 'text'");
            return null;
        });
        withInput("", () -> {
            refused(path, "standard input: no row in the file");
            return null;
        });
    }

    private static <T> T withInput(String content, Callable<T> call) throws Exception {
        InputStream former = System.in;
        System.setIn(new ByteArrayInputStream(content.getBytes(StandardCharsets.UTF_8)));
        try {
            return call.call();
        } finally {
            System.setIn(former);
        }
    }

    @Test
    void aNamedPipeIsReadByItsContent() throws Exception {
        for (String content : List.of(JSON, CSV)) {
            Path pipe = temporary.resolve("pipe" + content.length() + ".fifo");
            assertThat(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor())
                    .isZero();
            Thread writer = new Thread(() -> {
                try {
                    Files.writeString(pipe, content);
                } catch (IOException e) {
                    throw new java.io.UncheckedIOException(e);
                }
            });
            writer.start();
            assertThat(LabelledRow.readAll(pipe, "text", "label"))
                    .extracting(LabelledRow::label)
                    .containsExactly("1", "0");
            writer.join();
        }
    }

    @Test
    void pathsWithoutAFileSayWhy() throws IOException {
        refused(temporary, "is a directory, not a file");
        Path loop = Files.createSymbolicLink(temporary.resolve("loop.csv"), Path.of("loop.csv"));
        absent(loop, "a link that leads back to itself");
        absent(
                Files.createSymbolicLink(temporary.resolve("dangling.csv"), Path.of("gone.csv")),
                "is a link to 'gone.csv', which is not there");
        Path file = bytes("a.csv", latin(CSV));
        absent(file.resolve("b.csv"), file + " is a file, not a directory");
        absent(temporary.resolve("none.csv"), "no such file");
        absent(temporary.resolve("x".repeat(300) + ".csv"), "a name of more than 255 letters");
    }

    private static void absent(Path file, String reason) {
        assertThatThrownBy(() -> LabelledRow.readAll(file, "text", null))
                .isInstanceOf(NoSuchFileException.class)
                .hasMessageStartingWith(file + ": ")
                .hasMessageContaining(reason);
    }

    private static void refused(Path file, String... parts) {
        assertThatThrownBy(() -> LabelledRow.readAll(file, "text", "label"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll(parts);
    }

    private Path bytes(String name, byte[] content) throws IOException {
        return Files.write(temporary.resolve(name), content);
    }

    private static byte[] latin(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    private static byte[] zip(String... names) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
            for (String name : names) {
                zip.putNextEntry(new ZipEntry(name));
            }
        }
        return bytes.toByteArray();
    }
}
