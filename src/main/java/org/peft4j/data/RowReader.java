package org.peft4j.data;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ForeignFormats;
import org.peft4j.io.Streams;

/**
 * Reads the rows of a data file one after the other: JSONL ({@code .jsonl}, {@code .ndjson}: one object a line, blank
 * lines are skipped), CSV ({@code .csv}: comma, double quotes, the first row names the columns), the same with tabs
 * ({@code .tsv}), or CoNLL ({@code .conll}, {@code .conllu}, {@code .bio}, {@code .iob}: see {@link ConllRows}). A file
 * whose name has another ending or none, a pipe and the standard input ({@code -}) are JSONL if they begin with a brace,
 * else CSV. UTF-8, with or without a byte order mark. The file is opened and read once. Rows may come from memory, too.
 *
 * <p>Every problem is a {@link MalformedFileException} that names file and line: no row at all, a line that is not JSON, a
 * row with more fields than the header, a quote that is never closed, bytes that are not UTF-8, a row of more than 16
 * MiB. What the columns hold is asked of the {@link Row}.
 *
 * <p>Not for several threads at the same time.
 */
public final class RowReader implements Closeable {
    /** The longest row that is read. */
    public static final int MAX_ROW_BYTES = 16 << 20;

    private final Path file;
    private final RowSource source;
    private long rows;

    private RowReader(Path file, RowSource source) {
        this.file = file;
        this.source = source;
    }

    /**
     * Opens a file, a pipe or the standard input ({@code -}).
     *
     * @param columns names of the columns that must be in a CSV file's header. In CoNLL, which names none, the first is
     *     the name for the words, the second for the tags
     */
    public static RowReader open(Path file, List<String> columns) throws IOException {
        return of(file, Streams.open(file), columns);
    }

    /** Rows from memory, read once; the stream is closed with the reader. */
    public static RowReader of(Stream<? extends Map<String, ? extends @Nullable Object>> rows) {
        return new RowReader(RowPlaces.STREAM, new MapRows(rows.iterator(), rows::close));
    }

    /** Rows from memory, read once. */
    public static RowReader of(Iterator<? extends Map<String, ? extends @Nullable Object>> rows) {
        return new RowReader(RowPlaces.STREAM, new MapRows(rows, () -> {}));
    }

    /** The same for bytes that come from elsewhere; the path is for the format and for messages. */
    static RowReader of(Path file, InputStream in, List<String> columns) throws IOException {
        Path name = Streams.name(file);
        try {
            TextLines lines = new TextLines(name, in);
            String other = ForeignFormats.describe(lines.start(), ForeignFormats.Wanted.ROWS);
            if (other != null) {
                throw new MalformedFileException(name, -1, other);
            }
            return new RowReader(name, source(file, lines, columns));
        } catch (IOException | RuntimeException e) {
            in.close();
            throw e;
        }
    }

    private static RowSource source(Path file, TextLines lines, List<String> columns) {
        String name = file.toString().toLowerCase(Locale.ROOT);
        if (name.endsWith(".jsonl") || name.endsWith(".ndjson")) {
            return new JsonLines(lines);
        }
        if (name.endsWith(".csv")) {
            return new CsvRows(lines, ',', new CsvHeader.Wanted(columns, ""));
        }
        if (name.endsWith(".tsv")) {
            return new CsvRows(lines, '\t', new CsvHeader.Wanted(columns, ""));
        }
        if (ConllRows.isName(name)) {
            return new ConllRows(lines, name.endsWith(".conllu"), columns);
        }
        String start = new String(lines.start(), StandardCharsets.UTF_8)
                .replace("\uFEFF", "")
                .strip();
        if (start.startsWith("{") || start.startsWith("[")) {
            return new JsonLines(lines);
        }
        String header = start.lines().findFirst().orElse("");
        return new CsvRows(
                lines,
                header.contains("\t") && !header.contains(",") ? '\t' : ',',
                new CsvHeader.Wanted(
                        columns,
                        "; it was taken for CSV, since its name does not end with .jsonl, .ndjson, .csv or .tsv and it"
                                + " does not begin with {"));
    }

    /** The file, for messages; rows from memory have a name, too. */
    public Path file() {
        return file;
    }

    /**
     * Whether {@link #next} need not wait for a program at the other end of a pipe. Told of lines of JSON, which may come one by one; all
     * else is read ahead, and ready.
     */
    public boolean ready() throws IOException {
        return source.ready();
    }

    /** The next row, or null after the last one. */
    public @Nullable Row next() throws IOException {
        Map<String, @Nullable Object> fields = source.next();
        if (fields != null) {
            rows++;
            return new Row(fields, file, source.line());
        }
        if (rows > 0) {
            return null;
        }
        throw new MalformedFileException(
                file,
                -1,
                source instanceof MapRows
                        ? "no row in it; at least one is needed"
                        : "no row in the file; a data file needs at least one, and CSV a header above it");
    }

    @Override
    public void close() throws IOException {
        source.close();
    }
}
