package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.yaml.YamlNode;
import org.peft4j.io.yaml.YamlReader;

/** Messages about JSON and YAML are ours: a new version of a library that words something else shows here. */
class SyntaxErrorsTest {
    private static final String GENERAL = "breaks";

    /** Words of Jackson and snakeyaml that nobody should read. */
    private static final List<String> FOREIGN = List.of(
            "Feature",
            "Constraints",
            "REDACTED",
            "marker",
            "Unexpected",
            "(code",
            "VALUE_",
            "START_",
            "token",
            "com.",
            "java.",
            "<block",
            "<stream",
            "scanning",
            "parsing",
            "in 'reader'");

    @TempDir
    Path temporary;

    @ParameterizedTest
    @CsvSource(
            delimiter = '!',
            quoteCharacter = '`',
            value = {
                "{ ! line 1, column 2: it ends before the '}' that closes the object which opens at line 1, column 1",
                "{\"a\":[1 ! it ends before the ']' that closes the array which opens at line 1, column 6",
                "{\"a\":\"x ! it ends inside a text",
                "{\"a ! it ends inside a text",
                "{\"a\": ! it ends too early",
                "{\"a\":1,\"a\":2} ! duplicate key 'a'",
                "{'a':1} ! expected a key in double quotes, received '''",
                "{\"a\":1,} ! the comma before it is too many",
                "{\"a\" 2} ! expected a colon between key and value, received '2'",
                "{\"a\":\"x\"y\"} ! expected a comma or '}', received 'y'; a double quote inside",
                "{\"a\":[1 2]} ! expected a comma or ']', received '2'",
                "{\"a\":[1,]} ! expected a value (a text in double quotes, a number, true, false, null, [ or {), received ']'",
                "{\"a\":1}//c ! comments are not allowed in JSON",
                "{\"a\":01} ! must not begin with 0",
                "{\"a\":1.} ! a number cannot go on with '}'",
                "{\"a\":+1} ! a number cannot go on with '+'",
                "{\"a\":True} ! Python's True",
                "{\"a\":tru} ! received 'tru'",
                "{\"a\":NaN} ! JSON has no number NaN",
                "{\"a\":-Infinity} ! JSON has no number -Infinity",
                "{\"a\":\"~\"} ! a line break inside a text has to be written \\n",
                "{\"a\":\"\u0001\"} ! U+0001 inside a text has to be escaped",
                "{\u0000} ! received the character U+0000",
                "{\"a\":\"C:\\dir\"} ! a backslash cannot be followed by 'd'; a backslash itself is written \\\\",
                "{\"a\":\"\\u12g4\"} ! four hexadecimal digits",
                "{\"a\":1] ! expected '}', received ']'",
                "} ! a '}' that closes nothing",
                "{}{} ! more follows behind its end",
                "`` ! there is nothing in it",
                "{\"a\":“x”} ! received the character U+201C",
            })
    void jsonIsToldInOurWords(String json, String message) {
        Throwable thrown = catchThrowable(() -> Json.readObject(
                Path.of("config.json"),
                json.replace('~', '\n').replace("``", "").getBytes(StandardCharsets.UTF_8)));
        assertThat(thrown).isInstanceOf(MalformedFileException.class).hasMessageContaining(message);
        isOurs(thrown);
    }

    @Test
    void boundsOfJsonAreTold() {
        for (String[] row : new String[][] {
            {"[".repeat(300), "more than 200 levels"},
            {"1".repeat(2000), "a number of more than 1000 digits"},
            {"{\"" + "x".repeat(60_000) + "\":1}", "a key of more than 50000 letters"}
        }) {
            Throwable thrown = catchThrowable(() ->
                    Json.readObject(Path.of("c.json"), ("{\"a\":" + row[0] + "}").getBytes(StandardCharsets.UTF_8)));
            assertThat(thrown).isInstanceOf(MalformedFileException.class).hasMessageContaining(row[1]);
            isOurs(thrown);
        }
    }

    /** ~ is a line feed, ^ a tab. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '!',
            quoteCharacter = '`',
            value = {
                "a:~^b: 1 ! line 2): a tab; indent with spaces",
                "a: b: c ! line 1): a colon that does not fit here",
                "a: 1~ b: 2 ! line 2): a colon that does not fit here",
                "a:~  b: 1~ c: 2 ! line 3): this line does not continue what is above",
                "`  a: 1~b: 2` ! line 2): this line does not continue what is above",
                "a: 1~foo~b: 2 ! line 3): expected 'key: value'",
                "a: [1, 2 ! line 1): expected a comma or ']', received the end of the text",
                "a: {b: 1] ! expected a comma or '}', received ']'",
                "a: 1~b: \"x~c: 2~ ! line 2): a quote that is never closed",
                "a: \"C:\\dir\" ! in double quotes a backslash cannot be followed by 'd'",
                "a: @x ! a text that begins with @ has to be in quotes",
                "a: 'it's' ! check its indentation and its quotes",
                "a: - b ! a list cannot begin here",
                "a: } ! expected a value, received '}'",
                "a: * ! a text that begins with &, *, # or % has to be in quotes",
                "a: |x~ b ! behind | or > the line has to end",
                "a: 1~b: x\u0007y ! line 2): the character U+0007 cannot stand in YAML",
                "[a, b]: c ! a key has to be a single value",
                "a: &x y~b: *x ! aliases (*name) are not read",
                "a: #tag 1 ! tags (#name) are not read",
            })
    void yamlIsToldInOurWords(String yaml, String message) throws IOException {
        Path file = Files.writeString(temporary.resolve("run.yaml"), text(yaml));
        Throwable thrown = catchThrowable(() -> YamlReader.read(file));
        assertThat(thrown)
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("run.yaml")
                .hasMessageContaining(text(message).replace("#name", "!name").replace("*, # or", "*, ! or"));
        isOurs(thrown);
    }

    private static String text(String row) {
        return row.replace('~', '\n').replace('^', '\t').replace("#tag", "!!str");
    }

    @ParameterizedTest
    @CsvSource({"UTF-16, the text is UTF-16", "UTF-16LE, the text is UTF-16", "ISO-8859-1, line 2: text must be UTF-8"})
    void yamlInOtherEncodingsIsTold(String charset, String message) throws IOException {
        Path file = Files.write(temporary.resolve("run.yaml"), "model: x\noutput: \u00e4\n".getBytes(charset));
        assertThatThrownBy(() -> YamlReader.read(file))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }

    @Test
    void yamlMayBeginWithAByteOrderMarkAndHaveBothLineEnds() throws IOException {
        Path file = Files.writeString(temporary.resolve("run.yaml"), "\uFEFFa: 1\r\nb: 2\r\n");
        assertThat(((YamlNode.Mapping) YamlReader.read(file)).values()).containsOnlyKeys("a", "b");
    }

    private static void isOurs(Throwable thrown) {
        assertThat(thrown.getMessage()).doesNotContain(FOREIGN).doesNotContain(GENERAL);
    }
}
