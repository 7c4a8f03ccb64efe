package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.ConfigException;

class DatasetTest {
    private static final Labels LABELS = Labels.of(List.of("ham", "spam"));

    @TempDir
    Path temporary;

    @Test
    void keepsTheOrderOfTheFileAcrossChunksAndCountsCutTexts() throws IOException {
        StringBuilder rows = new StringBuilder();
        for (int i = 0; i < 1300; i++) {
            String text = i % 100 == 7 ? "the quick fox jumps over" : i % 2 == 0 ? "win money" : "meet";
            rows.append("{\"text\":\"%s\",\"label\":\"%s\"}%n".formatted(text, i % 2 == 0 ? "spam" : "ham"));
        }
        Path file = Files.writeString(temporary.resolve("a.jsonl"), rows);

        Dataset data;
        try (TextTokenizer tokenizer = TextTokenizer.open(TextTokenizerTest.TOKENIZER, 5)) {
            data = Dataset.read(file, "text", "label", LABELS, tokenizer);
        }

        assertThat(data.size()).isEqualTo(1300);
        assertThat(data.cut()).isEqualTo(13);
        assertThat(data.examples()).extracting(Dataset.Example::label).startsWith(1, 0, 1, 0);
        assertThat(data.examples().get(1299).tokens()).containsExactly(2, 20, 3);
        assertThat(data.examples().get(1298).tokens()).containsExactly(2, 17, 18, 3);
        assertThat(data.tokens()).isEqualTo(650 * 4 + 637 * 3 + 13 * 5);
    }

    @Test
    void unknownLabelStopsTheReading() throws IOException {
        Path file = Files.writeString(temporary.resolve("a.csv"), "text,label\na,ham\nb,Spam\n");
        try (TextTokenizer tokenizer = TextTokenizer.open(TextTokenizerTest.TOKENIZER, 5)) {
            assertThatThrownBy(() -> Dataset.read(file, "text", "label", LABELS, tokenizer))
                    .hasMessageContaining("line 3: label 'Spam' is not in the labels ['ham', 'spam']");
        }
    }

    @Test
    void tokenBeyondTheModelsTableNamesFileAndLine() throws IOException {
        Path file = Files.writeString(temporary.resolve("a.csv"), "text,label\nmeet,ham\nwin money,spam\n");
        try (TextTokenizer tokenizer = TextTokenizer.open(TextTokenizerTest.TOKENIZER, 5)) {
            Dataset data = Dataset.read(file, "text", "label", LABELS, tokenizer);

            data.checkVocabulary(21);
            assertThatThrownBy(() -> data.checkVocabulary(18))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("a.csv, line 2: the text has the token 20,")
                    .hasMessageContaining("only 18 rows");
        }
    }

    @Test
    void fileIsReadOnceAndLabelsAreCountedAsTheyAreWritten() throws IOException {
        Path file = Files.writeString(temporary.resolve("a.csv"), "text,label\nmeet,Ham\nwin,ham\nwin,Ham\n");
        try (TextTokenizer tokenizer = TextTokenizer.open(TextTokenizerTest.TOKENIZER, 5)) {
            LabelledTexts rows = LabelledTexts.read(file, "text", "label", tokenizer);
            Files.delete(file);

            assertThat(rows.counts()).containsExactly(java.util.Map.entry("Ham", 2L), java.util.Map.entry("ham", 1L));
            assertThat(rows.dataset(Labels.of(List.of("ham", "Ham"))).examples())
                    .extracting(Dataset.Example::label)
                    .containsExactly(1, 0, 1);
        }
    }
}
