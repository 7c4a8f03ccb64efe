package org.peft4j.data;

import java.nio.file.Path;
import org.peft4j.error.MalformedFileException;

/** How rows are called in messages: by file and line, or by their place in a stream from memory. */
final class RowPlaces {
    /** The "file" of rows from memory, as the standard input has a name, too. */
    static final Path STREAM = Path.of("the stream");

    private RowPlaces() {}

    /** {@code "train.jsonl, line 12"} or {@code "row 12 of the stream"}. */
    @SuppressWarnings("ReferenceEquality") // a file may have any name
    static String where(Path file, long line) {
        return file == STREAM ? "row " + line + " of the stream" : file + ", line " + line;
    }

    @SuppressWarnings("ReferenceEquality")
    static MalformedFileException wrong(Path file, long line, String reason) {
        return new MalformedFileException(file, -1, (file == STREAM ? "row " : "line ") + line + ": " + reason);
    }
}
