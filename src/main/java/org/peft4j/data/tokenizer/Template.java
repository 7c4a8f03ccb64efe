package org.peft4j.data.tokenizer;

import java.util.List;
import java.util.stream.IntStream;

/**
 * What stands where in a sequence: special tokens and the text, or two texts, each with a type.
 *
 * @param pieces from front to back
 */
public record Template(List<Piece> pieces) {
    /** The text by itself. */
    static final Template NONE = new Template(List.of(Piece.text(0, 0)));

    /**
     * A special token, or all tokens of a text.
     *
     * @param text number of the text, from 0; -1 for a special token
     * @param token number of the special token
     * @param type type of the token or of the text's tokens
     */
    public record Piece(int text, int token, int type) {
        static Piece text(int number, int type) {
            return new Piece(number, -1, type);
        }

        static Piece special(int token, int type) {
            return new Piece(-1, token, type);
        }

        Piece withType(int other) {
            return new Piece(text, token, other);
        }
    }

    public Template {
        pieces = List.copyOf(pieces);
    }

    /** How many special tokens there are. */
    public int specialTokens() {
        return (int) pieces.stream().filter(piece -> piece.text() < 0).count();
    }

    /** Whether each of the texts stands in it once. */
    boolean hasEachOf(int texts) {
        return IntStream.range(0, texts)
                        .allMatch(text -> pieces.stream()
                                        .filter(piece -> piece.text() == text)
                                        .count()
                                == 1)
                && pieces.stream().allMatch(piece -> piece.text() < texts);
    }

    /** The sequence of these texts' tokens. */
    public int[] tokens(int[]... texts) {
        return pieces.stream()
                .flatMapToInt(
                        piece -> piece.text() < 0 ? IntStream.of(piece.token()) : IntStream.of(texts[piece.text()]))
                .toArray();
    }

    /** One number for each of the text's tokens as given, another for each special token. */
    public int[] tokensOr(int special, int[] text) {
        return pieces.stream()
                .flatMapToInt(piece -> piece.text() < 0 ? IntStream.of(special) : IntStream.of(text))
                .toArray();
    }

    /** The types of that sequence's tokens. */
    public int[] types(int[]... texts) {
        return pieces.stream()
                .flatMapToInt(piece -> IntStream.range(0, piece.text() < 0 ? 1 : texts[piece.text()].length)
                        .map(i -> piece.type()))
                .toArray();
    }
}
