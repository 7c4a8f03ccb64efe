package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.MalformedFileException;

class JsonTest {
    private static final Path NAME = Path.of("config.json");

    @TempDir
    Path dir;

    @Test
    void readsEveryKindOfValue() throws IOException {
        Map<String, @Nullable Object> object =
                read("{\"s\":\"é\",\"i\":1,\"l\":5000000000,\"d\":1e-5,\"b\":true,\"n\":null,\"a\":[1,[]],\"o\":{}}");
        assertThat(object)
                .containsEntry("s", "é")
                .containsEntry("i", 1)
                .containsEntry("l", 5_000_000_000L)
                .containsEntry("d", 1e-5)
                .containsEntry("b", true)
                .containsEntry("n", null)
                .containsEntry("a", List.of(1, List.of()))
                .containsEntry("o", Map.of());
        assertThat(object.keySet()).containsExactly("s", "i", "l", "d", "b", "n", "a", "o");
    }

    @Test
    void whatWasReadCannotBeChanged() throws IOException {
        Map<String, @Nullable Object> object = read("{\"a\":[1],\"o\":{}}");
        assertThatThrownBy(() -> object.put("x", 1)).isInstanceOf(UnsupportedOperationException.class);
        assertThatThrownBy(() -> ((List<?>) object.get("a")).clear()).isInstanceOf(UnsupportedOperationException.class);
    }

    @Test
    void saysLineAndColumn() {
        assertThatThrownBy(() -> read("{\n  \"a\": 1,\n  \"b\" 2}"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith("config.json: no valid JSON at line 3, column 7: ");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                " ",
                "[]",
                "null",
                "1",
                "{",
                "{}{}",
                "{\"a\":1,\"a\":1}",
                "{\"o\":{\"a\":1,\"a\":2}}",
                "{'a':1}",
                "{a:1}",
                "{\"a\":NaN}",
                "{\"a\":1e400}",
                "{\"a\":[-1e999]}",
                "{\"a\":1,}",
                "{} //",
                "{\"a\":01}",
                "\uFEFF{}"
            })
    void refusesWhatIsNotOneStrictObject(String text) {
        assertThatThrownBy(() -> read(text)).isInstanceOf(MalformedFileException.class);
    }

    @Test
    void refusesDeepNestingAndOtherEncodings() {
        String deep = "{\"a\":" + "[".repeat(100_000) + "]".repeat(100_000) + "}";
        assertThatThrownBy(() -> read(deep)).isInstanceOf(MalformedFileException.class);
        assertThatThrownBy(() -> Json.readObject(NAME, "{}".getBytes(StandardCharsets.UTF_16LE)))
                .isInstanceOf(MalformedFileException.class);
        assertThatThrownBy(() -> Json.readObject(NAME, "{\"é\":1}".getBytes(StandardCharsets.ISO_8859_1)))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll("text must be UTF-8, got byte 0xe9", "(offset 2)");
    }

    @Test
    void refusesALongFileWithoutReadingIt() throws IOException {
        Path file = dir.resolve("config.json");
        try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
            sparse.setLength(1L << 40);
        }
        assertThatThrownBy(() -> Json.readObject(file))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("1,099,511,627,776 bytes, at most 67,108,864 allowed");
    }

    @Test
    void writesAsPythonDoes() {
        Map<String, @Nullable Object> value = new HashMap<>();
        value.put("b", Arrays.asList(1, null, true, "é\"\\/\n\u007f\ud83d\ude00"));
        value.put("a", Map.of());
        value.put("Z", List.of());
        value.put("c", Map.of("x", List.of(Map.of("y", 2.0))));
        value.put("n", null);
        assertThat(Json.write(value)).isEqualTo("""
                {
                  "Z": [],
                  "a": {},
                  "b": [
                    1,
                    null,
                    true,
                    "\\u00e9\\"\\\\/\\n\\u007f\\ud83d\\ude00"
                  ],
                  "c": {
                    "x": [
                      {
                        "y": 2.0
                      }
                    ]
                  },
                  "n": null
                }""");
    }

    /** The right column is Python's {@code repr}. */
    @ParameterizedTest
    @CsvSource({
        "0.1, 0.1",
        "1e-5, 1e-05",
        "1e-12, 1e-12",
        "0.0001, 0.0001",
        "0.00012345, 0.00012345",
        "2e-3, 0.002",
        "1e15, 1000000000000000.0",
        "1e16, 1e+16",
        "1.5e16, 1.5e+16",
        "123456789012345680, 1.2345678901234568e+17",
        "2e23, 2e+23",
        "1e23, 1e+23",
        "4.9e-324, 5e-324",
        "1.7976931348623157e308, 1.7976931348623157e+308",
        "-0.0, -0.0",
        "0, 0.0",
        "-16, -16.0",
        "0.30000000000000004, 0.30000000000000004",
        "9007199254740993, 9007199254740992.0",
        "2.2250738585072014e-308, 2.2250738585072014e-308",
        "1e100, 1e+100"
    })
    void writesDoublesAsPythonDoes(double value, String expected) {
        assertThat(Json.write(value)).isEqualTo(expected);
    }

    @Test
    void writesOtherNumbers() {
        assertThat(Json.write(List.of(0.1f, 5_000_000_000L, (short) 3, BigInteger.TEN.pow(30))))
                .isEqualTo("[\n  0.1,\n  5000000000,\n  3,\n  1" + "0".repeat(30) + "\n]");
    }

    @Test
    void refusesToWriteWhatJsonHasNotAndSaysWhere() {
        assertThatThrownBy(() -> Json.write(Map.of("a", List.of(1, Double.NaN))))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("value.a[1] must be a finite number, got NaN");
        assertThatThrownBy(() -> Json.write(Map.of("a", NAME)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("value.a must be a map, collection, text, number, boolean or null, got ");
        assertThatThrownBy(() -> Json.write(Map.of(1, 2))).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void readsFromAFile() throws IOException {
        assertThat(Json.readObject(Files.writeString(dir.resolve("a.json"), "{\"a\":1}")))
                .containsEntry("a", 1);
    }

    private static Map<String, @Nullable Object> read(String text) throws IOException {
        return Json.readObject(NAME, text.getBytes(StandardCharsets.UTF_8));
    }
}
