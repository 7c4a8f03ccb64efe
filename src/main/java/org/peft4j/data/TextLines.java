package org.peft4j.data;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ForeignFormats;

/**
 * The lines of a UTF-8 text, from a file or a pipe, read once from its beginning to its end. A byte order mark is taken
 * away; bytes that are not UTF-8 and lines that are too long are errors.
 */
final class TextLines implements Closeable {
    private final Path name;
    private final InputStream in;
    private final CharsetDecoder utf8 = StandardCharsets.UTF_8.newDecoder();
    private final byte[] buffer = new byte[1 << 16];
    private int at;
    private int end;
    private long number;
    private int length;
    private long offset;

    /** @param name what messages call the text */
    TextLines(Path name, InputStream in) throws IOException {
        this.name = name;
        this.in = in;
        // A line is enough to know a format by: who writes it may wait for the answer.
        while (end < ForeignFormats.BYTES && !hasLine()) {
            int read = in.read(buffer, end, ForeignFormats.BYTES - end);
            if (read < 0) {
                return;
            }
            end += read;
        }
    }

    private boolean hasLine() {
        for (int i = at; i < end; i++) {
            if (buffer[i] == '\n') {
                return true;
            }
        }
        return false;
    }

    /** Whether a line has begun that was not given yet; its end may be waited for. */
    boolean ready() throws IOException {
        return at < end || in.available() > 0;
    }

    /** The first bytes; all of them if the text is short. To be asked before the first line. */
    byte[] start() {
        return Arrays.copyOf(buffer, end);
    }

    /** The next line with its line feed, if it has one; null at the end. */
    @Nullable
    String next() throws IOException {
        offset += length;
        byte[] bytes = readLine();
        if (bytes.length == 0) {
            return null;
        }
        number++;
        length = bytes.length;
        String text = decode(bytes);
        return number == 1 && text.startsWith("\uFEFF") ? text.substring(1) : text;
    }

    /** The number of the last line given, from 1. */
    long number() {
        return number;
    }

    /** Its bytes. */
    int length() {
        return length;
    }

    MalformedFileException wrong(long line, String reason, @Nullable Throwable cause) {
        return new MalformedFileException(name, -1, "line " + line + ": " + reason, cause);
    }

    MalformedFileException wrong(long line, int column, String reason, @Nullable Throwable cause) {
        return new MalformedFileException(name, -1, "line " + line + ", column " + column + ": " + reason, cause);
    }

    private byte[] readLine() throws IOException {
        ByteArrayOutputStream rest = null;
        while (true) {
            int feed = at;
            while (feed < end && buffer[feed] != '\n') {
                feed++;
            }
            boolean whole = feed < end;
            int stop = whole ? feed + 1 : end;
            if (whole && rest == null) {
                byte[] line = Arrays.copyOfRange(buffer, at, stop);
                at = stop;
                return line;
            }
            if (rest == null) {
                rest = new ByteArrayOutputStream();
            }
            if (rest.size() + (stop - at) > RowReader.MAX_ROW_BYTES + 1) {
                throw wrong(number + 1, "a row of more than " + RowReader.MAX_ROW_BYTES + " bytes; split it", null);
            }
            rest.write(buffer, at, stop - at);
            at = stop;
            if (whole) {
                return rest.toByteArray();
            }
            at = 0;
            end = Math.max(0, in.read(buffer));
            if (end == 0) {
                return rest.toByteArray();
            }
        }
    }

    private String decode(byte[] bytes) {
        ByteBuffer from = ByteBuffer.wrap(bytes);
        CharBuffer to = CharBuffer.allocate(bytes.length);
        CoderResult result = utf8.reset().decode(from, to, true);
        if (result.isError()) {
            int bad = from.position();
            throw new MalformedFileException(
                    name,
                    offset + bad,
                    String.format(
                            "line %d: byte %d of the line is 0x%02x, which is not UTF-8; if the text is Latin-1, convert it:"
                                    + " iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW",
                            number, bad + 1, bytes[bad]));
        }
        return to.flip().toString();
    }

    @Override
    public void close() throws IOException {
        in.close();
    }
}
