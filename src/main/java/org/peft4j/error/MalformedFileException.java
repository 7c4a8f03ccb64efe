package org.peft4j.error;

import java.io.Serial;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A file that is there but is not what its format says. The message names the file, what was expected and what came:
 * {@code adapter_model.safetensors: header says 9,114,861,777 bytes, at most 100,000,000 allowed (offset 0)}.
 *
 * <p>Reasons may quote the file, so control characters are escaped (a terminal must not obey a file) and long reasons
 * are cut.
 */
public final class MalformedFileException extends Peft4jException {
    @Serial
    private static final long serialVersionUID = 1L;

    private static final int MAX_REASON = 2000;

    private final transient @Nullable Path file;
    private final long offset;
    private final String reason;

    /**
     * @param file   the file, or the directory whose files do not fit together
     * @param offset byte at which the file is wrong, or -1 where no single byte is to blame
     * @param reason what was expected, what came, and what to do
     */
    public MalformedFileException(Path file, long offset, String reason) {
        this(file, offset, reason, null);
    }

    /** The same, with the exception that found it. */
    public MalformedFileException(Path file, long offset, String reason, @Nullable Throwable cause) {
        super(printable(file + ": " + reason) + (offset < 0 ? "" : " (offset " + offset + ")"), cause);
        this.file = file;
        this.offset = offset;
        this.reason = reason;
    }

    /** The file, or null after serialization (a path does not survive it; the message keeps its name). */
    public @Nullable Path file() {
        return file;
    }

    /** Byte at which the file is wrong, or -1. */
    public long offset() {
        return offset;
    }

    /** The message without file and offset, and unescaped. */
    public String reason() {
        return reason;
    }

    private static String printable(String text) {
        StringBuilder out = new StringBuilder();
        text.codePoints().limit(MAX_REASON).forEach(c -> {
            if (c != '\n' && (Character.isISOControl(c) || Character.getType(c) == Character.FORMAT)) {
                out.append(String.format("\\u%04x", c));
            } else {
                out.appendCodePoint(c);
            }
        });
        return text.length() > MAX_REASON ? out + " …" : out.toString();
    }
}
