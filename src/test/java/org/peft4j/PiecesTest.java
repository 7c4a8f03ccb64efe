package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.peft4j.data.TextTokenizer;
import org.peft4j.generate.Generated;
import org.peft4j.generate.StopStrings;

/** Characters of which each byte is a token of its own, as text comes. */
class PiecesTest {
    private static final String TEXT = "日本, é 😀 and ш";

    private final TextTokenizer tokenizer = tokenizer();
    private final List<String> told = new ArrayList<>();

    private static TextTokenizer tokenizer() {
        try {
            return TextTokenizer.open(Path.of("src/examples/data/stories260k/tokenizer.json"), 512);
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private Pieces pieces(Texts texts, String... stops) {
        return new Pieces(0, texts, List.of(stops), (prompt, piece) -> told.add(piece));
    }

    /** The tokens of the text behind a prompt. */
    private int[] fresh(int[] prompt) {
        int[] all = tokenizer.encodeWhole("Once" + TEXT);
        assertThat(Arrays.copyOf(all, prompt.length)).isEqualTo(prompt);
        return Arrays.copyOfRange(all, prompt.length, all.length);
    }

    @Test
    void piecesAreWholeCharacters() {
        int[] prompt = tokenizer.encodeWhole("Once");
        int[] fresh = fresh(prompt);
        assertThat(fresh.length).isGreaterThan(TEXT.length() + 3);
        Texts texts = new Texts(tokenizer, prompt);
        Pieces pieces = pieces(texts);
        for (int id : fresh) {
            pieces.token(0, id);
        }
        pieces.done(0, new Generated(fresh, texts.text(null, fresh), Generated.Reason.LENGTH, null));
        assertThat(String.join("", told)).isEqualTo(TEXT);
        assertThat(told).noneMatch(piece -> piece.contains("\uFFFD"));
        assertThat(told).contains("é", "ш");
    }

    /** Its last character has four tokens. */
    @Test
    void aStopTextSpansTokensAndBytes() {
        int[] prompt = tokenizer.encodeWhole("Once");
        int[] fresh = fresh(prompt);
        Texts texts = new Texts(tokenizer, prompt);
        Pieces pieces = pieces(texts, "never", "é 😀");
        StopStrings stops = new StopStrings(List.of("never", "é 😀"));
        int n = 0;
        int at = -1;
        while (at < 0) {
            pieces.token(0, fresh[n]);
            at = stops.find(texts.text(null, Arrays.copyOf(fresh, ++n)));
        }
        assertThat(n).isLessThan(fresh.length);
        assertThat(texts.text(null, Arrays.copyOf(fresh, n))).isEqualTo("日本, é 😀");
        assertThat(String.join("", told)).isEqualTo("日本, ");
    }
}
