package org.peft4j.task.classification;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.entry;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.config.ProblemType;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.data.Labels;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.task.Dataset;

/** [CLS] is 2 and [SEP] is 3; a text has at most 5 tokens here. */
class AnsweredTextsTest {
    private static final Path TOKENIZER = Path.of("src/test/resources/data/tokenizer.json");
    private static final Labels LABELS = Labels.of(List.of("ham", "spam"));

    @TempDir
    Path temporary;

    @Test
    void keepsTheOrderOfTheFileAcrossBlocksAndCountsCutTexts() throws IOException {
        StringBuilder rows = new StringBuilder();
        for (int i = 0; i < 1300; i++) {
            String text = i % 100 == 7 ? "the quick fox jumps over" : i % 2 == 0 ? "win money" : "meet";
            rows.append("{\"text\":\"%s\",\"label\":\"%s\"}%n".formatted(text, i % 2 == 0 ? "spam" : "ham"));
        }

        Dataset<ClassExample> data =
                read("a.jsonl", rows.toString(), ProblemType.SINGLE_LABEL).dataset(ProblemType.SINGLE_LABEL, LABELS);

        assertThat(data.size()).isEqualTo(1300);
        assertThat(data.cut()).isEqualTo(13);
        assertThat(data.labelCounts()).containsExactly(entry("ham", 650L), entry("spam", 650L));
        assertThat(data.examples()).extracting(ClassExample::label).startsWith(1, 0, 1, 0);
        assertThat(data.examples().get(1299).text().tokens()).containsExactly(2, 20, 3);
        assertThat(data.examples().get(1298).text().tokens()).containsExactly(2, 17, 18, 3);
        assertThat(data.examples().stream().mapToInt(ClassExample::tokens).sum())
                .isEqualTo(650 * 4 + 637 * 3 + 13 * 5);
        assertThat(data.where(1299)).endsWith("a.jsonl, line 1300");
    }

    @Test
    void fileIsReadOnceAndLabelsAreCountedAsTheyAreWritten() throws IOException {
        AnsweredTexts rows = read("a.csv", "text,label\nmeet,Ham\nwin,ham\nwin,Ham\n", ProblemType.SINGLE_LABEL);
        Files.delete(rows.file());

        assertThat(rows.counts()).containsExactly(entry("Ham", 2L), entry("ham", 1L));
        assertThat(rows.dataset(ProblemType.SINGLE_LABEL, Labels.of(List.of("ham", "Ham")))
                        .examples())
                .extracting(ClassExample::label)
                .containsExactly(1, 0, 1);
    }

    @Test
    void unknownLabelIsToldByItsLine() throws IOException {
        AnsweredTexts rows = read("a.csv", "text,label\na,ham\nb,Spam\n", ProblemType.SINGLE_LABEL);

        assertThatThrownBy(() -> rows.dataset(ProblemType.SINGLE_LABEL, LABELS))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("line 3: label 'Spam' is not in the labels ['ham', 'spam']");
    }

    @Test
    void tokenBeyondTheModelsTableNamesFileAndLine() throws IOException {
        Dataset<ClassExample> data = read("a.csv", "text,label\nmeet,ham\nwin money,spam\n", ProblemType.SINGLE_LABEL)
                .dataset(ProblemType.SINGLE_LABEL, LABELS);

        data.checkVocabulary(21);
        assertThatThrownBy(() -> data.checkVocabulary(18))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("a.csv, line 2: the text has the token 20,")
                .hasMessageContaining("only 18 rows");
    }

    @Test
    void aRowMayHaveAnyNumberOfLabels() throws IOException {
        AnsweredTexts rows = read("a.jsonl", """
                {"text": "a", "label": ["spam", "ham", "spam"]}
                {"text": "a", "label": []}
                {"text": "a", "label": ["spam"]}
                """, ProblemType.MULTI_LABEL);

        assertThat(rows.counts()).as("twice in a row is once").containsOnly(entry("spam", 2L), entry("ham", 1L));
        Dataset<ClassExample> data = rows.dataset(ProblemType.MULTI_LABEL, LABELS);
        assertThat(data.examples())
                .extracting(ClassExample::values)
                .containsExactly(new float[] {1, 1}, new float[] {0, 0}, new float[] {0, 1});
        assertThat(data.labelCounts()).containsExactly(entry("ham", 1L), entry("spam", 2L));
        assertThatThrownBy(() -> rows.dataset(ProblemType.MULTI_LABEL, Labels.of(List.of("ham", "eggs"))))
                .hasMessageContaining("line 1: label 'spam' is not in the labels");
    }

    @Test
    void aRegressionReadsNumbersAlsoWhereTheyAreTexts() throws IOException {
        Dataset<ClassExample> data = read("a.csv", "text,label\na,-0.5\nb, 1e2\nc,3\n", ProblemType.REGRESSION)
                .dataset(ProblemType.REGRESSION, Labels.NONE);

        assertThat(data.examples())
                .extracting(ClassExample::values)
                .containsExactly(new float[] {-0.5f}, new float[] {100}, new float[] {3});
        assertThat(data.labelCounts()).isEmpty();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "SINGLE_LABEL | [\"ham\"] | expected a label in column 'label', received an array; several labels for one text",
                "SINGLE_LABEL | null      | expected a label in column 'label', received null",
                "MULTI_LABEL  | \"ham\"   | expected a list of labels in column 'label', received a text",
                "MULTI_LABEL  | [\"\"]    | expected a list of labels in column 'label', received an empty text in place 1",
                "REGRESSION   | \"good\"  | expected a number in column 'label', received 'good'",
                "REGRESSION   | 1e300     | expected a number of at most 3.4028235E38 in column 'label'",
            })
    void wrongAnswersAreToldByLine(ProblemType problem, String label, String message) {
        String right = "{\"text\": \"a\", \"label\": %s}\n"
                .formatted(
                        problem == ProblemType.MULTI_LABEL
                                ? "[\"ham\"]"
                                : problem == ProblemType.REGRESSION ? "1" : "\"ham\"");

        assertThatThrownBy(() -> read("a.jsonl", right + "{\"text\": \"a\", \"label\": " + label + "}", problem))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("line 2: " + message);
    }

    @Test
    void tooManyLabelsAreTakenForTheWrongColumn() {
        StringBuilder rows = new StringBuilder("text,label\n");
        for (int i = 0; i <= Labels.MAX; i++) {
            rows.append("a,number ").append(i).append('\n');
        }

        assertThatThrownBy(() -> read("a.csv", rows.toString(), ProblemType.SINGLE_LABEL))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("more than 10000 different labels in column 'label' up to line 10002");
    }

    private AnsweredTexts read(String name, String content, ProblemType problem) throws IOException {
        Path file = Files.writeString(temporary.resolve(name), content);
        try (TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, 5);
                RowReader reader = RowReader.open(file, List.of("text", "label"))) {
            return AnsweredTexts.read(reader, SequenceClassificationConfig.defaults(), problem, tokenizer);
        }
    }
}
