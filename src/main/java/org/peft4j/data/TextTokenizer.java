package org.peft4j.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.tokenizer.NativeTokenizer;
import org.peft4j.data.tokenizer.Template;
import org.peft4j.data.tokenizer.TokenDecoder;
import org.peft4j.data.tokenizer.TokenizerDocument;
import org.peft4j.data.tokenizer.TokenizerFiles;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.lifetime.Lease;

/**
 * Turns texts into tokens as a model's files say: with its special tokens, cut to {@code maxLength} so that the special
 * tokens stay (at the end, or at the beginning where {@code truncation_side} is left), never padded. Lengths and padding in
 * the files do not apply. Of two texts the longer one is cut until both are as long, then both in turn.
 *
 * <p>Of a long text only as much is tokenized as is kept, where it is certain that the rest changes nothing.
 *
 * <p>Safe from many threads. {@link #close} waits for calls that run; later ones get an {@link IllegalStateException}. What
 * {@link #withMaxLength} gives shares the opened files, and ends with the tokenizer that was opened.
 */
public final class TextTokenizer implements AutoCloseable {
    /**
     * The tokens of one text or of a pair of texts.
     *
     * @param tokens their numbers, special tokens included
     * @param types their types; null if all are 0
     * @param cut whether the text was longer, or one of the two was
     */
    @SuppressWarnings("ArrayRecordComponent") // equals and hashCode know it
    public record Tokens(int[] tokens, int @Nullable [] types, boolean cut) {
        @Override
        public boolean equals(Object other) {
            return other instanceof Tokens that
                    && cut == that.cut
                    && Arrays.equals(tokens, that.tokens)
                    && Arrays.equals(types, that.types);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(tokens) * 2 + (cut ? 1 : 0);
        }
    }

    /**
     * The tokens of a text that is given as words.
     *
     * @param tokens their numbers, special tokens included
     * @param wordOf number of the word that each is of, from 0; -1 for special tokens. A word that is not in it has no token:
     *     it is of blanks or control characters, or was cut off
     * @param cutWords how many words were cut off: they had tokens, of which none is left
     */
    @SuppressWarnings("ArrayRecordComponent") // equals and hashCode know it
    public record WordTokens(int[] tokens, int[] wordOf, int cutWords) {
        @Override
        public boolean equals(Object other) {
            return other instanceof WordTokens that
                    && cutWords == that.cutWords
                    && Arrays.equals(tokens, that.tokens)
                    && Arrays.equals(wordOf, that.wordOf);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(tokens) * 31 + cutWords;
        }
    }

    private final TokenizerDocument document;
    private final TokenDecoder decoder;
    private final Map<String, Integer> specialIds;
    private final List<String> notes;
    private final OptionalInt modelMaxLength;
    private final TextPieces pieces;
    private final Lease lease;
    private final int maxLength;
    private final boolean opener;

    private TextTokenizer(TokenizerFiles files, OptionalInt modelMaxLength, int maxLength) {
        this.document = files.document();
        this.decoder = files.decoder();
        this.specialIds = files.specialIds();
        this.notes = files.notes();
        this.modelMaxLength = modelMaxLength;
        NativeTokenizer tokenizer = NativeTokenizer.open(document);
        this.pieces = new TextPieces(document, tokenizer);
        this.lease = new Lease("this tokenizer", tokenizer::close);
        this.maxLength = maxLength;
        this.opener = true;
    }

    private TextTokenizer(TextTokenizer opened, int maxLength, TextPieces pieces) {
        this.document = opened.document;
        this.decoder = opened.decoder;
        this.specialIds = opened.specialIds;
        this.notes = opened.notes;
        this.modelMaxLength = opened.modelMaxLength;
        this.pieces = pieces;
        this.lease = opened.lease;
        this.maxLength = maxLength;
        this.opener = false;
    }

    /**
     * Opens the tokenizer of a model: {@code tokenizer.json}, or {@code vocab.txt} where that is missing, with what
     * {@code tokenizer_config.json} and {@code special_tokens_map.json} change, as transformers has it.
     *
     * @param maxLength most tokens that a text gives, special tokens included
     * @throws MalformedFileException if a file is missing, is not what it should be, or asks for what is not known
     */
    public static TextTokenizer open(ModelDirectory directory, int maxLength) throws IOException {
        check(maxLength);
        return open(TokenizerFiles.read(directory), TokenizerFiles.modelMaxLength(directory), maxLength);
    }

    /**
     * Opens a single {@code tokenizer.json} that counts as it is.
     *
     * @param maxLength most tokens that a text gives, special tokens included
     * @throws MalformedFileException if it is none, or asks for what is not known
     */
    public static TextTokenizer open(Path tokenizerJson, int maxLength) throws IOException {
        check(maxLength);
        if (!Files.isRegularFile(tokenizerJson)) {
            throw new NoSuchFileException(tokenizerJson.toString(), null, "no tokenizer");
        }
        return open(TokenizerFiles.read(tokenizerJson), OptionalInt.empty(), maxLength);
    }

    private static TextTokenizer open(TokenizerFiles files, OptionalInt modelMaxLength, int maxLength) {
        check(maxLength, files.document());
        return new TextTokenizer(files, modelMaxLength, maxLength);
    }

    /** The same tokenizer with another limit. Closing it does nothing, closing the one that was opened ends both. */
    public TextTokenizer withMaxLength(int tokens) {
        check(tokens);
        check(tokens, document);
        return new TextTokenizer(this, tokens, pieces);
    }

    /** The same tokenizer with the beginnings of long texts cut, or their ends; closing it does nothing. */
    public TextTokenizer cutting(boolean left) {
        return new TextTokenizer(this, maxLength, pieces.cutting(left));
    }

    private static void check(int maxLength) {
        if (maxLength < 1) {
            throw new IllegalArgumentException("maxLength must be at least 1, got " + maxLength);
        }
    }

    private static void check(int maxLength, TokenizerDocument document) {
        if (maxLength <= document.specialTokens()) {
            throw new ConfigException("max_length must be more than the " + document.specialTokens()
                    + " special tokens that " + document.file() + " adds to a text, got " + maxLength);
        }
    }

    /** The longest text that the model's tokenizer_config.json gives ({@code model_max_length}), if it gives one. */
    public static OptionalInt modelMaxLength(ModelDirectory directory) throws IOException {
        return TokenizerFiles.modelMaxLength(directory);
    }

    /** The same for the model of this tokenizer. */
    public OptionalInt modelMaxLength() {
        return modelMaxLength;
    }

    public int maxLength() {
        return maxLength;
    }

    /** What a user should know: keys that are passed over, tokens that stand in a vocabulary twice. */
    public List<String> notes() {
        return notes;
    }

    /**
     * The number of a special token that the model's files beside tokenizer.json name: "bos", "eos", "unk", "pad", "cls",
     * "sep", "mask", or another one without its "_token". Empty if they name none.
     */
    public OptionalInt specialId(String name) {
        Integer id = specialIds.get(name + "_token");
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }

    /** The tokens of one text. */
    public int[] encode(String text) {
        return encodeWithCut(text).tokens();
    }

    /** All tokens of one text, special ones included, however many there are. */
    public int[] encodeWhole(String text) {
        try (Lease.Held held = lease.take()) {
            return document.template().tokens(pieces.moreThan(text, Integer.MAX_VALUE));
        }
    }

    /** The tokens of one text, and whether it was cut. */
    public Tokens encodeWithCut(String text) {
        try (Lease.Held held = lease.take()) {
            return tokens(text);
        }
    }

    /** The tokens of many texts; faster than one by one, because it uses all processors. */
    public List<Tokens> encode(List<String> texts) {
        return encode(texts, i -> "text " + (i + 1) + " of " + texts.size());
    }

    /**
     * The same.
     *
     * @param where names a text for messages
     * @throws ConfigException if the tokenizer has no tokens for one of them
     */
    public List<Tokens> encode(List<String> texts, IntFunction<String> where) {
        return all(texts.size(), i -> tokens(texts.get(i)), where);
    }

    /**
     * The tokens of two texts in one sequence, with the special tokens and the types that the tokenizer gives to pairs.
     *
     * @throws MalformedFileException if the tokenizer has no form for pairs
     */
    public Tokens encodePair(String text, String pair) {
        try (Lease.Held held = lease.take()) {
            return pairTokens(text, pair);
        }
    }

    /** The same for many pairs; {@code pairs} has as many texts as {@code texts}, {@code where} names one for messages. */
    public List<Tokens> encodePairs(List<String> texts, List<String> pairs, IntFunction<String> where) {
        if (texts.size() != pairs.size()) {
            throw new IllegalArgumentException(texts.size() + " texts, but " + pairs.size() + " to pair them with");
        }
        return all(texts.size(), i -> pairTokens(texts.get(i), pairs.get(i)), where);
    }

    /** The tokens of a text that is given as words, each tokenized by itself; cut as texts are. */
    public WordTokens encodeWords(List<String> words) {
        try (Lease.Held held = lease.take()) {
            return wordTokens(words);
        }
    }

    /** The same for many texts; {@code where} names one for messages. */
    public List<WordTokens> encodeWords(List<? extends List<String>> texts, IntFunction<String> where) {
        return all(texts.size(), i -> wordTokens(texts.get(i)), where);
    }

    /** The tokens of a text without special tokens around it, at most {@link #maxLength}: of a prompt, or a response. */
    public Tokens encodePlain(String text) {
        try (Lease.Held held = lease.take()) {
            return plainTokens(text);
        }
    }

    /** All tokens of a text without special tokens around it, however many there are: of a rendered conversation. */
    public int[] encodePlainWhole(String text) {
        try (Lease.Held held = lease.take()) {
            return pieces.moreThan(text, Integer.MAX_VALUE);
        }
    }

    /** The same for many texts; {@code where} names one for messages. */
    public List<Tokens> encodePlain(List<String> texts, IntFunction<String> where) {
        return all(texts.size(), i -> plainTokens(texts.get(i)), where);
    }

    /** Whether the beginning of a long text is cut, instead of its end. */
    public boolean cutsLeft() {
        return pieces.cutsLeft();
    }

    /** All tokens of texts without special tokens around them, with the places in the texts that they are of; none is cut. */
    public List<NativeTokenizer.Placed> encodePlaced(List<String> texts, IntFunction<String> where) {
        return all(texts.size(), i -> pieces.placed(texts.get(i)), where);
    }

    /** Of so many tokens of a text the first one that is kept; {@link #maxLength} of them are, or all. */
    public int firstKept(int tokens) {
        return pieces.firstKept(tokens, maxLength);
    }

    /**
     * The text of tokens, as transformers gives it.
     *
     * @param skipSpecial whether special tokens give no text
     * @throws ConfigException if the vocabulary has no such token
     */
    public String decode(int[] ids, boolean skipSpecial) {
        try (Lease.Held held = lease.take()) {
            return decoder.decode(ids, skipSpecial);
        }
    }

    /** The text of tokens that come one after the other. */
    public TokenStream stream(boolean skipSpecial) {
        try (Lease.Held held = lease.take()) {
            return new TokenStream(decoder.new Run(skipSpecial));
        }
    }

    private <T> List<T> all(int count, IntFunction<T> encode, IntFunction<String> where) {
        try (Lease.Held held = lease.take()) {
            return IntStream.range(0, count)
                    .parallel()
                    .mapToObj(i -> {
                        try {
                            return encode.apply(i);
                        } catch (MalformedFileException e) {
                            throw new ConfigException(where.apply(i) + ": " + e.reason() + " (" + e.file() + ")", e);
                        }
                    })
                    .toList();
        }
    }

    private Tokens tokens(String text) {
        int room = maxLength - document.specialTokens();
        int[] tokens = pieces.moreThan(text, room);
        return new Tokens(document.template().tokens(pieces.cut(tokens, room)), null, tokens.length > room);
    }

    private Tokens plainTokens(String text) {
        int[] tokens = pieces.moreThan(text, maxLength);
        return new Tokens(pieces.cut(tokens, maxLength), null, tokens.length > maxLength);
    }

    private Tokens pairTokens(String text, String pair) {
        Template template = document.pairTemplate();
        int room = maxLength - template.specialTokens();
        if (room < 1) {
            throw new ConfigException("max_length must be more than the " + template.specialTokens()
                    + " special tokens that " + document.file() + " adds to two texts, got " + maxLength);
        }
        TextPieces.Two two = pieces.longestFirst(text, pair, room, maxLength);
        int[] types = template.types(two.first(), two.second());
        return new Tokens(
                template.tokens(two.first(), two.second()),
                Arrays.stream(types).allMatch(type -> type == 0) ? null : types,
                two.cut());
    }

    private WordTokens wordTokens(List<String> words) {
        int room = maxLength - document.specialTokens();
        NativeTokenizer.Words all = pieces.words(words);
        int[] wordOf = pieces.cut(all.wordOf(), room);
        long cut = Arrays.stream(all.wordOf()).distinct().count()
                - Arrays.stream(wordOf).distinct().count();
        return new WordTokens(
                document.template().tokens(pieces.cut(all.tokens(), room)),
                document.template().tokensOr(-1, wordOf),
                Math.toIntExact(cut));
    }

    @Override
    public void close() {
        if (opener) {
            lease.close();
        }
    }
}
