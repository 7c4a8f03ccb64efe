package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Mutations;

/** Damaged rows are read or refused with {@link MalformedFileException}; any other exception fails the test. */
class RowFuzzTest {
    private static final String JSON = """
            {"text": "a b", "label": 1, "n": [1.5e3, {"x": null}], "t": true}
            {"label": "y", "text": "h\\u00e4 \\"c\\" \\\\ \\n", "e": 1e-7}

            {"text": "ä🙂", "label": 0.0}
            """;
    private static final String CSV = "text,label,n\r\n\"a, \"\"b\"\"\nc\",x,1\n\nä🙂,y,\n5\" d,z,2.5";
    private static final String CONLL = "-DOCSTART- -X- O\n\n# id\nEU X B-ORG\nä🙂 X O\n\n# # O\n. X O";
    private static final String CONLLU = "# text = du mal\n1-2\tdu\t_" + "\t_".repeat(7) + "\n1\tde\tde\tADP"
            + "\t_".repeat(6) + "\n1.1\tx\tx\tX" + "\t_".repeat(6) + "\n\n1\ta b\tä\tNOUN" + "\t_".repeat(6) + "\n";

    @ParameterizedTest
    @ValueSource(strings = {"rows.jsonl", "rows.csv", "rows.tsv", "rows"})
    void damagedRowsAreReadOrRefused(String name) throws IOException {
        Mutations mutations = new Mutations(name.hashCode());
        int read = 0;
        for (int i = 0; i < 20_000; i++) {
            boolean json = name.equals("rows") ? i % 2 == 0 : name.endsWith("jsonl");
            byte[] rows = (json ? JSON : name.endsWith("tsv") ? CSV.replace(',', '\t') : CSV)
                    .getBytes(StandardCharsets.UTF_8);
            byte[] damaged = mutations.mutate(rows);
            try (RowReader reader =
                    RowReader.of(Path.of(name), new ByteArrayInputStream(damaged), List.of("text", "label"))) {
                long line = 0;
                for (Row row = reader.next(); row != null; row = reader.next()) {
                    assertThat(row.line()).isGreaterThan(line);
                    row.text("text");
                    row.label("label");
                    line = row.line();
                }
                read++;
            } catch (MalformedFileException e) {
                checkMessage(name, e);
            }
        }
        assertThat(read).as("damage that does no harm").isBetween(1_000, 18_000);
    }

    @ParameterizedTest
    @ValueSource(strings = {"rows.conll", "rows.conllu"})
    void damagedSentencesAreReadOrRefused(String name) throws IOException {
        Mutations mutations = new Mutations(name.hashCode());
        byte[] rows = (name.endsWith("u") ? CONLLU : CONLL).getBytes(StandardCharsets.UTF_8);
        int read = 0;
        for (int i = 0; i < 20_000; i++) {
            byte[] damaged = mutations.mutate(rows);
            try (RowReader reader =
                    RowReader.of(Path.of(name), new ByteArrayInputStream(damaged), List.of("words", "tags"))) {
                long line = 0;
                for (Row row = reader.next(); row != null; row = reader.next()) {
                    assertThat(row.line()).isGreaterThan(line);
                    assertThat(row.texts("words")).isNotEmpty().hasSameSizeAs(row.texts("tags"));
                    line = row.line();
                }
                read++;
            } catch (MalformedFileException e) {
                checkMessage(name, e);
            }
        }
        assertThat(read).as("damage that does no harm").isBetween(1_000, 18_000);
    }

    private static void checkMessage(String name, MalformedFileException e) {
        assertThat(e.getMessage()).startsWith(name + ": ").hasSizeLessThan(3000);
        for (String foreign : List.of("Stream", "Feature", "REDACTED", "marker", "Unexpected", "(code")) {
            assertThat(e.getMessage().replaceAll("received [^;]*|'[^']*'|true, false, null", ""))
                    .doesNotContain(foreign);
        }
    }
}
