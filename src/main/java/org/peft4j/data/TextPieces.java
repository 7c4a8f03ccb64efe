package org.peft4j.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.peft4j.data.tokenizer.NativeTokenizer;
import org.peft4j.data.tokenizer.SafeCuts;
import org.peft4j.data.tokenizer.TokenizerDocument;
import org.peft4j.error.MalformedFileException;

/** The tokens of texts without special tokens, and how they are cut: no more of a long text is tokenized than is kept. */
final class TextPieces {
    /** Characters of the first piece of a long text for each token that is kept. */
    private static final int CHARACTERS_PER_TOKEN = 8;

    private static final int SHORT_TEXT = 4096;
    private static final int WORDS_AT_ONCE = 512;

    private final TokenizerDocument document;
    private final NativeTokenizer tokenizer;
    private final SafeCuts cuts;
    private final boolean cutsLeft;

    TextPieces(TokenizerDocument document, NativeTokenizer tokenizer) {
        this(document, tokenizer, SafeCuts.of(document), document.cutsLeft());
    }

    private TextPieces(TokenizerDocument document, NativeTokenizer tokenizer, SafeCuts cuts, boolean cutsLeft) {
        this.document = document;
        this.tokenizer = tokenizer;
        this.cuts = cuts;
        this.cutsLeft = cutsLeft;
    }

    /** The same with beginnings cut, or ends. */
    TextPieces cutting(boolean left) {
        return new TextPieces(document, tokenizer, cuts, left);
    }

    /** All tokens of a text, with the places in it that they are of. */
    NativeTokenizer.Placed placed(String text) {
        return tokenizer.encodePlaced(taken(text));
    }

    /** Whether beginnings are cut. */
    boolean cutsLeft() {
        return cutsLeft;
    }

    /** Where the tokens begin that are kept of so many. */
    int firstKept(int tokens, int room) {
        return cutsLeft ? Math.max(0, tokens - room) : 0;
    }

    /** All tokens of a text, or more than {@code room} of those that stand where it is kept. */
    int[] moreThan(String text, int room) {
        return firstOrLast(text, room, tokenizer::encode, tokens -> tokens.length > room);
    }

    /** The first ones, or the last ones where beginnings are cut. */
    int[] cut(int[] tokens, int room) {
        if (tokens.length <= room) {
            return tokens;
        }
        return cutsLeft ? Arrays.copyOfRange(tokens, tokens.length - room, tokens.length) : Arrays.copyOf(tokens, room);
    }

    /** The tokens of two texts. */
    @SuppressWarnings("ArrayRecordComponent") // never compared
    record Two(int[] first, int[] second, boolean cut) {}

    /**
     * Two texts with at most {@code room} tokens together: the longer one is cut to the shorter one's length, then both.
     * Where both are longer than the room and that is odd, the longer one gets one more. How long they are is counted as
     * the library that transformers uses counts: it stops behind the word that reaches {@code maxLength}.
     */
    Two longestFirst(String text, String pair, int room, int maxLength) {
        int[] first = moreThan(text, room);
        int[] second = moreThan(pair, room);
        if ((long) first.length + second.length <= room) {
            return new Two(first, second, false);
        }
        boolean firstIsShorter = first.length > room && second.length > room && room % 2 == 1
                ? counted(text, maxLength) <= counted(pair, maxLength)
                : first.length <= second.length;
        int shorter = Math.min(firstIsShorter ? first.length : second.length, room / 2);
        int longer = room - shorter;
        return new Two(
                cut(first, firstIsShorter ? shorter : longer), cut(second, firstIsShorter ? longer : shorter), true);
    }

    /**
     * The number of tokens up to the end of the word, a part that is tokenized by itself, with which there are
     * {@code limit} or more; an added token in the text counts, but does not end the search.
     */
    private int counted(String text, int limit) {
        NativeTokenizer.Words all = firstOrLast(text, limit, tokenizer::encodeParts, made -> models(made) > limit);
        int[] words = all.wordOf();
        for (int count = limit; count < words.length; count++) {
            int at = cutsLeft ? words.length - count : count - 1;
            int next = cutsLeft ? at - 1 : at + 1;
            if (words[next] != words[at] && !document.isAdded(all.tokens()[at])) {
                return count;
            }
        }
        return words.length;
    }

    private long models(NativeTokenizer.Words words) {
        return Arrays.stream(words.tokens())
                .filter(token -> !document.isAdded(token))
                .count();
    }

    /** All tokens of words, each tokenized by itself. */
    NativeTokenizer.Words words(List<String> words) {
        List<NativeTokenizer.Words> parts = new ArrayList<>();
        for (int from = 0, to; from < words.size(); from = to) {
            long characters = 0;
            for (to = from; to < words.size() && to < from + WORDS_AT_ONCE; to++) {
                characters += taken(words.get(to)).length();
                if (characters > SHORT_TEXT && to > from) {
                    break;
                }
            }
            int first = from;
            NativeTokenizer.Words part = tokenizer.encodeWords(words.subList(from, to));
            int[] wordOf =
                    Arrays.stream(part.wordOf()).map(word -> first + word).toArray();
            parts.add(new NativeTokenizer.Words(part.tokens(), wordOf));
        }
        return new NativeTokenizer.Words(
                parts.stream().flatMapToInt(part -> IntStream.of(part.tokens())).toArray(),
                parts.stream().flatMapToInt(part -> IntStream.of(part.wordOf())).toArray());
    }

    /** What {@code encode} makes of the text, or of so much of its beginning, or end, that it is enough. */
    private <T> T firstOrLast(String text, int room, Function<String, T> encode, Predicate<T> enough) {
        for (long size = firstPiece(room); size < text.length(); size *= 2) {
            int place = cutsLeft ? cuts.after(text, (int) (text.length() - size)) : cuts.before(text, (int) size);
            if (place >= 0) {
                T made = encode.apply(taken(cutsLeft ? text.substring(place) : text.substring(0, place)));
                if (enough.test(made)) {
                    return made;
                }
            }
        }
        return encode.apply(taken(text));
    }

    private static long firstPiece(int room) {
        return Math.max(SHORT_TEXT, (long) room * CHARACTERS_PER_TOKEN);
    }

    /** The text, if the library may get it. */
    private String taken(String text) {
        if (!document.takes(text)) {
            throw new MalformedFileException(
                    document.file(),
                    -1,
                    "this tokenizer cannot take a text of " + text.length()
                            + " characters at once, and it has no place where it could be cut; split it");
        }
        return text;
    }
}
