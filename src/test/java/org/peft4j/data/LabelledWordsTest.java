package org.peft4j.data;

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
import org.peft4j.error.MalformedFileException;

/** "jumps" has the two tokens 8 and 9, and [CLS] and [SEP] stand around a sentence. */
class LabelledWordsTest {
    private static final Labels TAGS = Labels.of(List.of("NOUN", "VERB", "DET"));

    @TempDir
    Path temporary;

    @Test
    void theFirstTokenOfAWordHasItsTag() throws IOException {
        WordDataset data = read(
                        16,
                        "{\"words\": [\"The\", \"fox\", \"jumps\"], \"tags\": [\"DET\", \"NOUN\", \"VERB\"]}\n\n"
                                + "{\"words\": [\"jumps\", \"\", \"the\"], \"tags\": [\"VERB\", \"NOUN\", \"DET\"]}\n")
                .dataset(TAGS);
        assertThat(data.size()).isEqualTo(2);
        WordDataset.Example first = data.examples().get(0);
        assertThat(first.tokens()).containsExactly(2, 5, 7, 8, 9, 3);
        assertThat(first.targets()).containsExactly(-100, 2, 0, 1, -100, -100);
        assertThat(first.wordOf()).containsExactly(-1, 0, 1, 2, 2, -1);
        WordDataset.Example second = data.examples().get(1);
        assertThat(second.targets()).as("an empty word has no token").containsExactly(-100, 1, -100, 2, -100);
        assertThat(second.tags()).containsExactly(1, 0, 2);
        assertThat(data.tokens()).isEqualTo(11);
        assertThat(data.where(1)).endsWith("a.jsonl, line 3");
    }

    @Test
    void tagsAreCountedAndMayBeNumbers() throws IOException {
        LabelledWords rows = read(
                16,
                "{\"words\": [\"a\", \"fox\", \"a\"], \"tags\": [3, 1.0, 3]}\n{\"words\": [\"dog\"], \"tags\": [1]}");
        assertThat(rows.counts()).containsExactly(entry("3", 2L), entry("1", 2L));
    }

    @Test
    void cutWordsAreCounted() throws IOException {
        WordDataset data = read(
                        5,
                        "{\"words\": [\"the\", \"fox\", \"jumps\", \"over\", \"dog\"],"
                                + " \"tags\": [\"DET\", \"NOUN\", \"VERB\", \"NOUN\", \"NOUN\"]}")
                .dataset(TAGS);
        assertThat(data.examples().get(0).targets()).containsExactly(-100, 2, 0, 1, -100);
        assertThat(data.cutWords()).isEqualTo(2);
    }

    @Test
    void readsSentencesOfConll() throws IOException {
        Path file = Files.writeString(temporary.resolve("a.conll"), "the DET\nfox NOUN\n\njumps VERB\n");
        try (TextTokenizer tokenizer = TextTokenizer.open(TextTokenizerTest.TOKENIZER, 16)) {
            WordDataset data =
                    LabelledWords.read(file, "words", "tags", tokenizer).dataset(TAGS);
            assertThat(data.examples().get(1).targets()).containsExactly(-100, 1, -100, -100);
            assertThat(data.examples().get(1).line()).isEqualTo(4);
        }
    }

    @Test
    void readsRowsFromMemory() throws IOException {
        Stream<Map<String, Object>> rows = Stream.generate(
                        () -> Map.<String, Object>of("words", List.of("the", "fox"), "tags", List.of("DET", "NOUN")))
                .limit(1025);
        try (TextTokenizer tokenizer = TextTokenizer.open(TextTokenizerTest.TOKENIZER, 16);
                RowReader reader = RowReader.of(rows)) {
            WordDataset data =
                    LabelledWords.read(reader, "words", "tags", tokenizer).dataset(TAGS);
            assertThat(data.size()).isEqualTo(1025);
            assertThat(data.where(1024)).isEqualTo("row 1025 of the stream");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "[\"a\"] | [\"DET\", \"NOUN\"] | expected a tag for each of the 1 words in column 'tags', received 2 tags",
                "[\"a\", \"fox\"] | [\"DET\"]  | expected a tag for each of the 2 words in column 'tags', received 1 tags",
                "[] | []                       | expected words in column 'words', received an empty list",
                "\"a fox\" | [\"DET\"]         | expected a list of strings in column 'words', received a text",
                "[\"a\"] | [null]              | expected a list of labels in column 'tags', received null in place 1",
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
        LabelledWords rows = read(16, "{\"words\": [\"a\"], \"tags\": [\"DET\"]}");
        assertThatThrownBy(() -> rows.dataset(TAGS).checkVocabulary(3))
                .hasMessageContaining("a.jsonl, line 1: the text has the token ");
    }

    private LabelledWords read(int maxLength, String content) throws IOException {
        Path file = Files.writeString(temporary.resolve("a.jsonl"), content);
        try (TextTokenizer tokenizer = TextTokenizer.open(TextTokenizerTest.TOKENIZER, maxLength)) {
            return LabelledWords.read(file, "words", "tags", tokenizer);
        }
    }
}
