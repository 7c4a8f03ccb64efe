package org.peft4j.data.tokenizer;

import ai.djl.huggingface.tokenizers.jni.CharSpan;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongFunction;
import java.util.function.LongSupplier;
import org.peft4j.error.MalformedFileException;

/**
 * The library's tokenizer, which gives a text's own tokens: nothing is cut, padded or put around. Calls may run at the same
 * time; none may run while or after it is closed, which the caller sees to. {@link TokenizerLibrary} loads the library.
 */
public final class NativeTokenizer implements AutoCloseable {
    static {
        TokenizerLibrary.load();
    }

    private final Path file;
    private final long handle;

    private NativeTokenizer(Path file, long handle) {
        this.file = file;
        this.handle = handle;
    }

    /** Opens a judged tokenizer. */
    public static NativeTokenizer open(TokenizerDocument document) {
        try {
            return new NativeTokenizer(
                    document.file(), TokenizersLibrary.LIB.createTokenizerFromString(document.json()));
        } catch (RuntimeException e) { // the native library's own, of no common type
            throw new MalformedFileException(
                    document.file(), -1, "the tokenizers library does not take it: " + e.getMessage(), e);
        }
    }

    /**
     * The tokens of a text. Half a character (a surrogate without its other half) is taken as U+FFFD, as UTF-8 demands.
     *
     * @throws MalformedFileException if the tokenizer has no token for something in it
     */
    public int[] encode(String text) {
        String whole = whole(text);
        return encoded(
                () -> TokenizersLibrary.LIB.encode(handle, whole, false),
                encoding -> numbers(TokenizersLibrary.LIB.getTokenIds(encoding)));
    }

    /**
     * The tokens of words, each of which is a text by itself.
     *
     * @param tokens their numbers
     * @param wordOf number of the word that each is of
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared
    public record Words(int[] tokens, int[] wordOf) {}

    /** The tokens of words; as {@link #encode}. */
    public Words encodeWords(List<String> words) {
        String[] whole = words.stream().map(NativeTokenizer::whole).toArray(String[]::new);
        return encoded(() -> TokenizersLibrary.LIB.encodeList(handle, whole, false), NativeTokenizer::words);
    }

    /** The tokens of a text, with the parts that they are of in place of words: the pre-tokenizer's, or added tokens. */
    public Words encodeParts(String text) {
        String whole = whole(text);
        return encoded(() -> TokenizersLibrary.LIB.encode(handle, whole, false), NativeTokenizer::words);
    }

    /**
     * Tokens with the places that they are of.
     *
     * @param tokens their numbers
     * @param begins for each the first character of the text that it is of, counted in code points
     * @param ends for each the character behind its last one; the same as the first where it is of none
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared
    public record Placed(int[] tokens, int[] begins, int[] ends) {}

    /** The tokens of a text with the places that they are of; as {@link #encode}. */
    public Placed encodePlaced(String text) {
        String whole = whole(text);
        return encoded(() -> TokenizersLibrary.LIB.encode(handle, whole, false), encoding -> {
            CharSpan[] spans = TokenizersLibrary.LIB.getTokenCharSpans(encoding);
            return new Placed(
                    numbers(TokenizersLibrary.LIB.getTokenIds(encoding)),
                    Arrays.stream(spans)
                            .mapToInt(span -> span == null ? 0 : span.getStart())
                            .toArray(),
                    Arrays.stream(spans)
                            .mapToInt(span -> span == null ? 0 : span.getEnd())
                            .toArray());
        });
    }

    private static Words words(long encoding) {
        return new Words(
                numbers(TokenizersLibrary.LIB.getTokenIds(encoding)),
                numbers(TokenizersLibrary.LIB.getWordIds(encoding)));
    }

    private <T> T encoded(LongSupplier encode, LongFunction<T> read) {
        long encoding;
        try {
            encoding = encode.getAsLong();
        } catch (RuntimeException e) { // likewise
            throw new MalformedFileException(file, -1, "cannot tokenize a text: " + e.getMessage(), e);
        }
        try {
            return read.apply(encoding);
        } finally {
            TokenizersLibrary.LIB.deleteEncoding(encoding);
        }
    }

    private static int[] numbers(long[] numbers) {
        return Arrays.stream(numbers).mapToInt(Math::toIntExact).toArray();
    }

    private static String whole(String text) {
        for (int i = 0; i < text.length(); i++) {
            if (Character.isSurrogate(text.charAt(i)) && Character.charCount(text.codePointAt(i++)) == 1) {
                return text.codePoints()
                        .map(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE ? 0xFFFD : c)
                        .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                        .toString();
            }
        }
        return text;
    }

    @Override
    public void close() {
        TokenizersLibrary.LIB.deleteTokenizer(handle);
    }
}
