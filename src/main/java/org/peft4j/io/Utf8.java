package org.peft4j.io;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.peft4j.error.MalformedFileException;

/** Strict UTF-8: what is not valid is an error, never a replacement character. */
public final class Utf8 {
    private Utf8() {}

    /** Checks bytes that lie at {@code offset} in the file. (Jackson's parser takes overlong forms and surrogates.) */
    public static void check(Path path, byte[] bytes, long offset) throws MalformedFileException {
        CharsetDecoder decoder = StandardCharsets.UTF_8
                .newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT);
        ByteBuffer in = ByteBuffer.wrap(bytes);
        CharBuffer out = CharBuffer.allocate(8192);
        CoderResult result;
        do {
            out.clear();
            result = decoder.decode(in, out, true);
        } while (result.isOverflow());
        if (result.isError()) {
            throw new MalformedFileException(
                    path,
                    offset + in.position(),
                    "text must be UTF-8, got byte " + String.format("0x%02x", bytes[in.position()])
                            + "; if it is Latin-1, convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW");
        }
    }

    /** Refuses a text with half a surrogate pair (JSON can escape one): it has no UTF-8 form. */
    public static void checkSurrogates(Path path, String text, long offset) throws MalformedFileException {
        if (hasLoneSurrogate(text)) {
            throw new MalformedFileException(path, offset, "text must be Unicode, got half a surrogate pair");
        }
    }

    /** The bytes of a text. */
    public static byte[] encode(String text) {
        try {
            ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
            byte[] copy = new byte[bytes.remaining()];
            bytes.get(copy);
            return copy;
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("text must be Unicode, got half a surrogate pair", e);
        }
    }

    private static boolean hasLoneSurrogate(String text) {
        return text.codePoints().anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE);
    }
}
