package org.peft4j.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.peft4j.data.tokenizer.NativeTokenizer;
import org.peft4j.data.tokenizer.SafeCuts;
import org.peft4j.data.tokenizer.TokenizerDocument;
import org.peft4j.data.tokenizer.TokenizerFiles;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.lifetime.Lease;

/**
 * Turns texts into tokens as a model's files say: with its special tokens, cut to {@code maxLength} so that the special
 * tokens stay (at the end, or at the beginning where {@code truncation_side} is left), never padded. Lengths and padding in
 * the files do not apply. Types of tokens are not given: for single texts they are all zero.
 *
 * <p>Of a long text only as much is tokenized as is kept, where it is certain that the rest changes nothing.
 *
 * <p>Safe from many threads. {@link #close} waits for calls that run; later ones get an {@link IllegalStateException}.
 */
public final class TextTokenizer implements AutoCloseable {
    /** Characters of the first piece of a long text for each token that is kept. */
    private static final int CHARACTERS_PER_TOKEN = 8;

    private static final int SHORT_TEXT = 4096;

    /**
     * The tokens of one text.
     *
     * @param tokens their numbers, special tokens included
     * @param cut whether the text was longer
     */
    @SuppressWarnings("ArrayRecordComponent") // equals and hashCode know it
    public record Tokens(int[] tokens, boolean cut) {
        @Override
        public boolean equals(Object other) {
            return other instanceof Tokens that && cut == that.cut && Arrays.equals(tokens, that.tokens);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(tokens) * 2 + (cut ? 1 : 0);
        }
    }

    private final TokenizerDocument document;
    private final List<String> notes;
    private final OptionalInt modelMaxLength;
    private final SafeCuts cuts;
    private final NativeTokenizer tokenizer;
    private final Lease lease;
    private final int maxLength;

    private TextTokenizer(TokenizerFiles files, OptionalInt modelMaxLength, int maxLength) {
        this.document = files.document();
        this.notes = files.notes();
        this.modelMaxLength = modelMaxLength;
        this.cuts = SafeCuts.of(document);
        this.tokenizer = NativeTokenizer.open(document);
        this.lease = new Lease("this tokenizer", tokenizer::close);
        this.maxLength = maxLength;
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
        if (maxLength <= files.document().specialTokens()) {
            throw new ConfigException("max_length must be more than the "
                    + files.document().specialTokens() + " special tokens that "
                    + files.document().file() + " adds to a text, got " + maxLength);
        }
        return new TextTokenizer(files, modelMaxLength, maxLength);
    }

    private static void check(int maxLength) {
        if (maxLength < 1) {
            throw new IllegalArgumentException("maxLength must be at least 1, got " + maxLength);
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

    /** The tokens of one text. */
    public int[] encode(String text) {
        return encodeWithCut(text).tokens();
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
        try (Lease.Held held = lease.take()) {
            return IntStream.range(0, texts.size())
                    .parallel()
                    .mapToObj(i -> tokens(texts.get(i), where, i))
                    .toList();
        }
    }

    private Tokens tokens(String text, IntFunction<String> where, int i) {
        try {
            return tokens(text);
        } catch (MalformedFileException e) {
            throw new ConfigException(where.apply(i) + ": " + e.reason() + " (" + e.file() + ")", e);
        }
    }

    private Tokens tokens(String text) {
        int room = maxLength - document.specialTokens();
        int[] tokens = document.cutsLeft() ? endOf(text, room) : beginningOf(text, room);
        boolean cut = tokens.length > room;
        if (cut) {
            tokens = document.cutsLeft()
                    ? Arrays.copyOfRange(tokens, tokens.length - room, tokens.length)
                    : Arrays.copyOf(tokens, room);
        }
        return new Tokens(document.around(tokens), cut);
    }

    /** All tokens of a text, or its first ones, more than {@code room}. */
    private int[] beginningOf(String text, int room) {
        for (long piece = firstPiece(room); piece < text.length(); piece *= 2) {
            int end = cuts.before(text, (int) piece);
            if (end >= 0) {
                int[] tokens = whole(text.substring(0, end));
                if (tokens.length > room) {
                    return tokens;
                }
            }
        }
        return whole(text);
    }

    /** All tokens of a text, or its last ones, more than {@code room}. */
    private int[] endOf(String text, int room) {
        for (long piece = firstPiece(room); piece < text.length(); piece *= 2) {
            int start = cuts.after(text, (int) (text.length() - piece));
            if (start >= 0) {
                int[] tokens = whole(text.substring(start));
                if (tokens.length > room) {
                    return tokens;
                }
            }
        }
        return whole(text);
    }

    private static long firstPiece(int room) {
        return Math.max(SHORT_TEXT, (long) room * CHARACTERS_PER_TOKEN);
    }

    private int[] whole(String text) {
        if (!document.takes(text)) {
            throw new MalformedFileException(
                    document.file(),
                    -1,
                    "this tokenizer cannot take a text of " + text.length()
                            + " characters at once, and it has no place where it could be cut; split it");
        }
        return tokenizer.encode(text);
    }

    @Override
    public void close() {
        lease.close();
    }
}
