package org.peft4j.data;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;

/**
 * Turns texts into tokens as a {@code tokenizer.json} of Hugging Face says: with its special tokens, cut on the right
 * to {@code maxLength} so that the closing token stays, never padded. What the file itself says about cutting and
 * padding is overridden. Types of tokens are not given: for single texts they are all zero. Safe from many threads.
 *
 * <p>{@link TokenizerLibrary} says how the library behind it is loaded.
 */
public final class TextTokenizer implements AutoCloseable {
    private static final long MAX_BYTES = 256L << 20;

    static {
        TokenizerLibrary.load();
    }

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

    private final HuggingFaceTokenizer tokenizer;
    private final int maxLength;

    private TextTokenizer(HuggingFaceTokenizer tokenizer, int maxLength) {
        this.tokenizer = tokenizer;
        this.maxLength = maxLength;
    }

    /**
     * Opens a tokenizer.
     *
     * @param maxLength most tokens that a text gives, special tokens included
     * @throws MalformedFileException if the file is not one that the tokenizers library reads
     */
    public static TextTokenizer open(Path tokenizerJson, int maxLength) throws IOException {
        if (maxLength < 1) {
            throw new IllegalArgumentException("maxLength must be at least 1, got " + maxLength);
        }
        if (!Files.isRegularFile(tokenizerJson)) {
            throw new NoSuchFileException(
                    tokenizerJson.toString(), null, "no tokenizer; a model directory needs its tokenizer.json");
        }
        if (Files.size(tokenizerJson) > MAX_BYTES) {
            throw new MalformedFileException(
                    tokenizerJson, -1, "a tokenizer of more than " + MAX_BYTES + " bytes is not read");
        }
        String length = Integer.toString(maxLength);
        Map<String, String> options = Map.of(
                "addSpecialTokens", "true",
                "truncation", "true",
                "maxLength", length,
                "modelMaxLength", length, // else 512 would be the limit, whatever maxLength says
                "padding", "false");
        HuggingFaceTokenizer tokenizer;
        try (InputStream in = Files.newInputStream(tokenizerJson)) {
            tokenizer = HuggingFaceTokenizer.newInstance(in, options);
        } catch (RuntimeException e) { // the native library's own, of no common type
            throw new MalformedFileException(tokenizerJson, -1, "not a tokenizer.json: " + e.getMessage(), e);
        }
        TextTokenizer opened = new TextTokenizer(tokenizer, maxLength);
        int specials = opened.encode("").length;
        if (maxLength <= specials) {
            opened.close();
            throw new IllegalArgumentException("maxLength must be more than the " + specials + " special tokens that "
                    + tokenizerJson + " adds to a text, got " + maxLength);
        }
        return opened;
    }

    public int maxLength() {
        return maxLength;
    }

    /** The tokens of one text. */
    public int[] encode(String text) {
        return encodeWithCut(text).tokens();
    }

    /** The tokens of one text, and whether it was cut. */
    public Tokens encodeWithCut(String text) {
        return tokens(tokenizer.encode(text, true, false));
    }

    /** The tokens of many texts; faster than one by one, because it uses all processors. */
    public List<Tokens> encode(List<String> texts) {
        return texts.isEmpty()
                ? List.of()
                : Arrays.stream(tokenizer.batchEncode(texts, true, false))
                        .map(TextTokenizer::tokens)
                        .toList();
    }

    private static Tokens tokens(Encoding encoding) {
        long[] ids = encoding.getIds();
        int[] tokens = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
            tokens[i] = Math.toIntExact(ids[i]);
        }
        return new Tokens(tokens, encoding.exceedMaxLength());
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
