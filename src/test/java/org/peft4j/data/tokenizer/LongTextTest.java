package org.peft4j.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;

/** Of a long text only its beginning (or end) is tokenized, and gives what the whole gives. */
class LongTextTest {
    /** Pieces of texts, some of which change what is around them. */
    private static final List<String> PIECES = List.of(
            "the ",
            "shop ",
            "a",
            " ",
            "  ",
            "\n",
            "日本",
            "語",
            "e\u0301",
            "\u0301",
            "🙂",
            "[CLS]",
            "[MASK]",
            " [MASK] ",
            "<mask>",
            " <mask> ",
            "<s>",
            "new word",
            "new word  ",
            "<extra> ",
            "!",
            ", ",
            "12 ",
            "3",
            "ﬁ",
            "½ ",
            "x y",
            "é é",
            "\u0d4e ",
            "\u0d4ea b",
            " ำ",
            "\ud83d",
            "\u0000",
            "\u3000",
            "İ i",
            "Σ σ",
            "don't ",
            "_",
            "▁",
            " ▁ ",
            "aaaaaaaaaa");

    @TempDir
    Path directory;

    @ParameterizedTest
    @CsvSource({
        "wordpiece, false",
        "wordpiece, true",
        "bpe, false",
        "bpe, true",
        "unigram, false",
        "unigram, true",
        "metaspace, false",
        "metaspace, true",
        "wordlevel, false",
        "wordlevel, true"
    })
    void beginningGivesWhatTheWholeGives(String base, boolean left) throws IOException {
        Map<String, Object> tokenizer = new HashMap<>(TinyModel.fixture(base));
        tokenizer.put("truncation", Map.of("direction", left ? "Left" : "Right"));
        Path file = Files.writeString(directory.resolve("tokenizer.json"), Json.write(tokenizer));
        Random random = new Random(base.hashCode() + (left ? 1 : 0));
        try (TextTokenizer whole = TextTokenizer.open(file, 1_000_000);
                TextTokenizer cutting = TextTokenizer.open(file, 40)) {
            for (int i = 0; i < 60; i++) {
                String text = randomText(random);
                TextTokenizer.Tokens all = whole.encodeWithCut(text);
                TextTokenizer.Tokens cut = cutting.encodeWithCut(text);
                assertThat(all.cut()).isFalse();
                assertThat(cut.cut()).as("%d: %s", i, text).isEqualTo(all.tokens().length > 40);
                assertThat(cut.tokens()).as("%d: %s", i, text).isEqualTo(expected(file, all.tokens(), left));
            }
        }
    }

    private static int[] expected(Path file, int[] all, boolean left) throws IOException {
        TokenizerDocument document = TokenizerFiles.read(file).document();
        int before = 0;
        int[] around = document.around(new int[] {-1});
        while (around[before] != -1) {
            before++;
        }
        int[] text = Arrays.copyOfRange(all, before, all.length - (around.length - 1 - before));
        int room = Math.min(text.length, 40 - document.specialTokens());
        return document.around(
                left ? Arrays.copyOfRange(text, text.length - room, text.length) : Arrays.copyOf(text, room));
    }

    /** 4,000 to 40,000 characters of some of the pieces, so that many texts have no blank or only one kind of script. */
    private static String randomText(Random random) {
        List<String> some = random.ints(1 + random.nextInt(6), 0, PIECES.size())
                .mapToObj(PIECES::get)
                .toList();
        StringBuilder text = new StringBuilder();
        int length = 4000 + random.nextInt(36_000);
        while (text.length() < length) {
            text.append(some.get(random.nextInt(some.size())));
        }
        return text.toString();
    }

    @Test
    void aTextOfTenMillionCharactersIsReadAtItsBeginning() throws IOException {
        String text = "the shop sent a wrong colour ".repeat(350_000);
        try (TextTokenizer tokenizer = TextTokenizer.open(TinyModel.FIXTURES.resolve("wordpiece.json"), 256)) {
            long start = System.nanoTime();
            for (int i = 0; i < 20; i++) {
                assertThat(tokenizer.encodeWithCut(text).cut()).isTrue();
            }
            assertThat(System.nanoTime() - start)
                    .as("twenty times, though one whole text takes seconds")
                    .isLessThan(5_000_000_000L);
        }
    }

    @Test
    void placesToCutAreFoundForTheKindsThatAreThoughtThrough() throws IOException {
        String text = "the shop ".repeat(100);
        for (String base : List.of("wordpiece", "bpe", "unigram")) {
            SafeCuts cuts = SafeCuts.of(TokenizerFiles.read(TinyModel.FIXTURES.resolve(base + ".json"))
                    .document());
            assertThat(cuts.before(text, 500)).as(base).isGreaterThan(480);
            assertThat(cuts.after(text, 500)).as(base).isBetween(500, 520);
        }
        SafeCuts bert = SafeCuts.of(TokenizerFiles.read(TinyModel.FIXTURES.resolve("wordpiece.json"))
                .document());
        assertThat(bert.before("日本語".repeat(100), 200)).isEqualTo(200);
        assertThat(bert.before("a".repeat(1000), 500)).isEqualTo(-1);
        SafeCuts none = SafeCuts.of(TokenizerFiles.read(TinyModel.FIXTURES.resolve("metaspace.json"))
                .document());
        assertThat(none.before(text, 500)).as("nothing splits this one").isEqualTo(-1);
    }

    @Test
    void aTextTooLongToTokenizeAtOnceIsRefused() throws IOException {
        String text = "é".repeat(4_000_001);
        try (TextTokenizer tokenizer = TextTokenizer.open(TinyModel.FIXTURES.resolve("wordpiece.json"), 16)) {
            assertThatThrownBy(() -> tokenizer.encode(text))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("cannot take a text of 4000001 characters at once");
        }
    }
}
