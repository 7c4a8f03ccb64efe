package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.error.MalformedFileException;

class ConllRowsTest {
    @TempDir
    Path temporary;

    @Test
    void readsSentencesOfTheSharedTask() throws IOException {
        List<Row> rows = read("a.conll", """
                -DOCSTART- -X- -X- O

                EU NNP B-NP B-ORG
                rejects VBZ B-VP O
                \t
                # # B-NP O
                5 CD I-NP O


                Peter NNP B-NP B-PER""");
        assertThat(rows).extracting(Row::line).containsExactly(3L, 6L, 10L);
        assertThat(rows)
                .extracting(row -> row.texts("w"))
                .containsExactly(List.of("EU", "rejects"), List.of("#", "5"), List.of("Peter"));
        assertThat(rows)
                .extracting(row -> row.texts("t"))
                .containsExactly(List.of("B-ORG", "O"), List.of("O", "O"), List.of("B-PER"));
        assertThat(rows.get(0).fields().keySet()).containsExactly("w", "t");
    }

    @Test
    void tabsKeepBlanksOfWords() throws IOException {
        List<Row> rows = read("a.bio", "New York\tB-LOC\r\nis \t O\r\n\r\nnice\u00a0one\tO\t\r\n");
        assertThat(rows)
                .extracting(row -> row.texts("w"))
                .containsExactly(List.of("New York", "is"), List.of("nice\u00a0one"));
        assertThat(rows.get(0).texts("t")).containsExactly("B-LOC", "O");
    }

    @Test
    void commentsStandInFrontOfASentence() throws IOException {
        List<Row> rows = read("a.iob", """
                #begin document (a); part 000
                # id 7\tdomain=en
                x _ _ O

                # id 8\tdomain=en
                # _ _ B-NUM
                y _ _ O

                #end document
                """);
        assertThat(rows).extracting(row -> row.texts("w")).containsExactly(List.of("x"), List.of("#", "y"));
        assertThat(rows).extracting(Row::line).containsExactly(3L, 6L);
    }

    @Test
    void readsUniversalDependencies() throws IOException {
        String rest = "\t_\t_\t_\t_\t_\t_\n";
        List<Row> rows = read(
                "a.conllu",
                "# sent_id = 1\n# text = du mal\n1-2\tdu\t_\t_" + rest + "1\tde\tde\tADP" + rest + "2\tle\tle\tDET"
                        + rest + "2.1\tx\tx\tX" + rest + "3\tun mal\tmal\tNOUN" + rest
                        + "\n# only a comment\n\n1\t#\t#\tSYM" + rest);
        assertThat(rows).extracting(row -> row.texts("w")).containsExactly(List.of("de", "le", "un mal"), List.of("#"));
        assertThat(rows)
                .extracting(row -> row.texts("t"))
                .containsExactly(List.of("ADP", "DET", "NOUN"), List.of("SYM"));
    }

    @Test
    void wordsAloneNeedNoTags() throws IOException {
        Path file = Files.writeString(temporary.resolve("a.conll"), "a\nb\n\nc\n");
        try (RowReader reader = RowReader.open(file, List.of("words"))) {
            assertThat(reader.next().fields()).containsOnlyKeys("words");
            assertThat(reader.next().texts("words")).containsExactly("c");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "a.conll  | a O~b X O~           | line 2: expected 2 columns as in line 1, received 3",
                "a.conll  | a X O~~b O~          | line 3: expected 3 columns as in line 1, received 2",
                "a.conll  | a O~# b c~d O~       | line 2: expected 2 columns as in line 1, received 3",
                "a.conll  | a~b~                 | line 1: expected a word and a tag, received 1 column",
                "a.conll  | a^X^O~^X^O~          | line 2: expected a word in column 1, received an empty one",
                "a.conll  | a^X^O~b^X^~          | line 2: expected 3 columns as in line 1, received 2",
                "a.bio    | a^~                  | line 1: expected a tag in column 2, received an empty one",
                "a.conllu | 1^a^b~               | line 1: expected 10 columns (CoNLL-U), received 3",
                "a.conllu | x^a^a^X^_^_^_^_^_^_~ | line 1: expected a word's number (1, 1-2 or 1.1) in the first column, received 'x'",
                "a.conllu | 1^^a^X^_^_^_^_^_^_~  | line 1: expected a word in column 2, received an empty one",
                "a.conll  | ~~                   | no row in the file",
                "a.conll  | -DOCSTART- O~~       | no row in the file",
                "a.conllu | # text~              | no row in the file",
            })
    void wrongLinesAreTold(String name, String content, String message) {
        assertThatThrownBy(() -> read(name, content.replace('~', '\n').replace('^', '\t')))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(temporary.resolve(name) + ": " + message);
    }

    @Test
    void aFileWithoutBlankLinesIsNotOneSentence() {
        assertThatThrownBy(() -> read("a.conll", "word O\n".repeat(RowReader.MAX_ROW_BYTES / 7 + 1)))
                .hasMessageContaining("a sentence of more than")
                .hasMessageContaining("a blank line ends a sentence");
    }

    private List<Row> read(String name, String content) throws IOException {
        Path file = Files.writeString(temporary.resolve(name), content);
        List<Row> rows = new ArrayList<>();
        try (RowReader reader = RowReader.open(file, List.of("w", "t"))) {
            for (Row row = reader.next(); row != null; row = reader.next()) {
                rows.add(row);
            }
        }
        return rows;
    }
}
