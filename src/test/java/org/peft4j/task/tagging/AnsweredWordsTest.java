package org.peft4j.task.tagging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.entry;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.data.Labels;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.MalformedFileException;
import org.peft4j.task.Dataset;

/** "jumps" has the two tokens 8 and 9, and [CLS] and [SEP] stand around a sentence. */
class AnsweredWordsTest {
    private static final Path TOKENIZER = Path.of("src/test/resources/data/tokenizer.json");
    private static final Labels TAGS = Labels.of(List.of("NOUN", "VERB", "DET"));

    @TempDir
    Path temporary;

    @Test
    void theFirstTokenOfAWordHasItsTag() throws IOException {
        Dataset<TaggedExample> data = read(
                        16,
                        "{\"words\": [\"The\", \"fox\", \"jumps\"], \"tags\": [\"DET\", \"NOUN\", \"VERB\"]}\n\n"
                                + "{\"words\": [\"jumps\", \"\", \"the\"], \"tags\": [\"VERB\", \"NOUN\", \"DET\"]}\n")
                .dataset(TAGS);

        assertThat(data.size()).isEqualTo(2);
        TaggedExample first = data.examples().get(0);
        assertThat(first.text().tokens()).containsExactly(2, 5, 7, 8, 9, 3);
        assertThat(first.firstOf()).containsExactly(1, 2, 3);
        assertThat(first.labels()).containsExactly(2, 0, 1);
        TaggedExample second = data.examples().get(1);
        assertThat(second.firstOf()).as("an empty word has no token").containsExactly(1, -1, 3);
        assertThat(second.labels()).containsExactly(1, 0, 2);
        assertThat(second.tagged()).isEqualTo(2);
        assertThat(data.labelCounts()).containsExactly(entry("NOUN", 2L), entry("VERB", 2L), entry("DET", 2L));
        assertThat(data.where(1)).endsWith("a.jsonl, line 3");
    }

    @Test
    void tagsAreCountedAndMayBeNumbers() throws IOException {
        AnsweredWords rows = read(
                16,
                "{\"words\": [\"a\", \"fox\", \"a\"], \"tags\": [3, 1.0, 3]}\n{\"words\": [\"dog\"], \"tags\": [1]}");

        assertThat(rows.counts()).containsExactly(entry("3", 2L), entry("1", 2L));
    }

    @Test
    void cutWordsHaveNoToken() throws IOException {
        Dataset<TaggedExample> data = read(
                        5,
                        "{\"words\": [\"the\", \"fox\", \"jumps\", \"over\", \"dog\"],"
                                + " \"tags\": [\"DET\", \"NOUN\", \"VERB\", \"NOUN\", \"NOUN\"]}")
                .dataset(TAGS);

        assertThat(data.examples().get(0).text().tokens()).containsExactly(2, 5, 7, 8, 3);
        assertThat(data.examples().get(0).firstOf()).containsExactly(1, 2, 3, -1, -1);
        assertThat(data.examples().get(0).tagged()).isEqualTo(3);
        assertThat(data.cut()).isEqualTo(1);
    }

    @Test
    void readsSentencesOfConll() throws IOException {
        Path file = Files.writeString(temporary.resolve("a.conll"), "the DET\nfox NOUN\n\njumps VERB\n");
        try (RowReader reader = RowReader.open(file, List.of("words", "tags"))) {
            Dataset<TaggedExample> data = read(16, reader).dataset(TAGS);
            assertThat(data.examples().get(1).labels()).containsExactly(1);
            assertThat(data.examples().get(1).firstOf()).containsExactly(1);
            assertThat(data.examples().get(1).line()).isEqualTo(4);
        }
    }

    @Test
    void readsRowsFromMemory() throws IOException {
        Stream<Map<String, Object>> rows = Stream.generate(
                        () -> Map.<String, Object>of("words", List.of("the", "fox"), "tags", List.of("DET", "NOUN")))
                .limit(1025);
        try (RowReader reader = RowReader.of(rows)) {
            Dataset<TaggedExample> data = read(16, reader).dataset(TAGS);
            assertThat(data.size()).isEqualTo(1025);
            assertThat(data.examples().get(1024).line()).isEqualTo(1025);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "[\"a\"] | [\"DET\", \"NOUN\"] | expected a tag for each word, received 1 words in column 'words' and 2 tags in column 'tags'",
                "[\"a\", \"fox\"] | [\"DET\"]  | expected a tag for each word, received 2 words in column 'words' and 1 tags in column 'tags'",
                "[] | []                       | expected at least one word in column 'words', received none",
                "\"a fox\" | [\"DET\"]         | expected a list of strings in column 'words', received a text",
                "[\"a\"] | [null]              | expected a list of labels in column 'tags', received null in place 1",
                "[\"a\"] | [\"\"]              | expected a list of labels in column 'tags', received an empty text in place 1",
                "[\"a\"] | [\"NUON\"]          | label 'NUON' is not in the labels ['NOUN', 'VERB', 'DET']; did you mean",
            })
    void wrongRowsAreToldByLine(String words, String tags, String message) {
        String right = "{\"words\": [\"a\"], \"tags\": [\"DET\"]}\n";

        assertThatThrownBy(() -> read(16, right + "{\"words\": " + words + ", \"tags\": " + tags + "}")
                        .dataset(TAGS))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageStartingWith(temporary.resolve("a.jsonl") + ": line 2: " + message);
    }

    @Test
    void tokensBeyondTheModelsVocabularyAreRefused() throws IOException {
        AnsweredWords rows = read(16, "{\"words\": [\"a\"], \"tags\": [\"DET\"]}");

        assertThatThrownBy(() -> rows.dataset(TAGS).checkVocabulary(3))
                .hasMessageContaining("a.jsonl, line 1: the text has the token ");
    }

    private AnsweredWords read(int maxLength, String content) throws IOException {
        Path file = Files.writeString(temporary.resolve("a.jsonl"), content);
        try (RowReader reader = RowReader.open(file, List.of("words", "tags"))) {
            return read(maxLength, reader);
        }
    }

    private static AnsweredWords read(int maxLength, RowReader reader) throws IOException {
        try (TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, maxLength)) {
            return AnsweredWords.read(reader, TokenClassificationConfig.defaults(), tokenizer);
        }
    }
}
