package org.peft4j.data;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ForeignFormats;
import org.peft4j.io.NearestName;
import org.peft4j.io.Streams;

/**
 * Reads the rows of a data file one after the other: JSONL ({@code .jsonl}, {@code .ndjson}: one object a line, blank
 * lines are skipped), CSV ({@code .csv}: comma, double quotes, the first row names the columns) or the same with tabs
 * ({@code .tsv}). A file whose name has another ending or none, a pipe and the standard input ({@code -}) are JSONL if
 * they begin with a brace, else CSV. UTF-8, with or without a byte order mark. The file is opened and read once.
 *
 * <p>Every problem is a {@link MalformedFileException} that names file and line: no row at all, a row without the text
 * column or whose text is not a string, a missing label, a line that is not JSON, a row with more fields than the header,
 * a quote that is never closed, bytes that are not UTF-8, a row of more than 16 MiB. A label may be a number or a boolean;
 * it counts as its text, and numbers that are equal have the same (1, 1.0 and 1e0 are "1").
 */
public final class RowReader implements Closeable {
    /** The longest row that is read. */
    public static final int MAX_ROW_BYTES = 16 << 20;

    private final Path file;
    private final String text;
    private final @Nullable String label;
    private final RowSource source;
    private long rows;

    private RowReader(Path file, String text, @Nullable String label, RowSource source) {
        this.file = file;
        this.text = text;
        this.label = label;
        this.source = source;
    }

    /**
     * Opens a file, a pipe or the standard input ({@code -}).
     *
     * @param text name of the column with the text
     * @param label name of the column with the label; null if labels are not wanted
     */
    public static RowReader open(Path file, String text, @Nullable String label) throws IOException {
        return of(file, Streams.open(file), text, label);
    }

    /** The same for bytes that come from elsewhere; the path is for the format and for messages. */
    static RowReader of(Path file, InputStream in, String text, @Nullable String label) throws IOException {
        Path name = Streams.name(file);
        try {
            TextLines lines = new TextLines(name, in);
            String other = ForeignFormats.describe(lines.start(), ForeignFormats.Wanted.ROWS);
            if (other != null) {
                throw new MalformedFileException(name, -1, other);
            }
            List<String> columns = label == null ? List.of(text) : List.of(text, label);
            return new RowReader(name, text, label, source(file, lines, columns));
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

    /** All rows of a file. */
    public static List<Row> readAll(Path file, String text, @Nullable String label) throws IOException {
        List<Row> rows = new ArrayList<>();
        try (RowReader reader = open(file, text, label)) {
            for (Row row = reader.next(); row != null; row = reader.next()) {
                rows.add(row);
            }
        }
        return rows;
    }

    /** The next row, or null after the last one. */
    public @Nullable Row next() throws IOException {
        Map<String, @Nullable Object> fields = source.next();
        if (fields == null) {
            if (rows == 0) {
                throw new MalformedFileException(
                        file, -1, "no row in the file; a data file needs at least one, and CSV a header above it");
            }
            return null;
        }
        rows++;
        return new Row(text(fields), label == null ? null : label(fields, label), fields, file, source.line());
    }

    @Override
    public void close() throws IOException {
        source.close();
    }

    private String text(Map<String, @Nullable Object> fields) {
        Object value = field(fields, text);
        if (value instanceof String string) {
            return whole(string, text);
        }
        throw wrong("expected a string in column '" + text + "', received " + describe(value));
    }

    private String label(Map<String, @Nullable Object> fields, String label) {
        Object value = field(fields, label);
        if (value instanceof String string && !string.isEmpty()) {
            return whole(string, label);
        }
        if (value instanceof Number number && !isNotFinite(number)) {
            return NumberText.of(number);
        }
        if (value instanceof Boolean) {
            return value.toString();
        }
        throw wrong("expected a label in column '" + label + "', received " + describe(value)
                + (value instanceof List ? "; several labels for one text (multi-label) are not supported yet" : ""));
    }

    /** Text that has no UTF-8 form cannot be tokenised: somebody cut it in the middle of a character. */
    private String whole(String string, String column) {
        if (string.codePoints().anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE)) {
            throw wrong("half a character (an escape \\ud800 to \\udfff without its other half) in column '" + column
                    + "'; repair the text or take the row out");
        }
        return string;
    }

    private static boolean isNotFinite(Number number) {
        return number instanceof Double && !Double.isFinite(number.doubleValue());
    }

    private @Nullable Object field(Map<String, @Nullable Object> fields, String column) {
        if (!fields.containsKey(column)) {
            throw wrong("no column '" + column + "' in this row" + NearestName.hint(column, fields.keySet()));
        }
        return fields.get(column);
    }

    private MalformedFileException wrong(String reason) {
        return new MalformedFileException(file, -1, "line " + source.line() + ": " + reason);
    }

    private static String describe(@Nullable Object value) {
        if (value == null) {
            return "null";
        }
        if (value instanceof Map) {
            return "an object";
        }
        if (value instanceof List) {
            return "an array";
        }
        return value instanceof String string
                ? (string.isEmpty() ? "an empty text" : "a text")
                : (value instanceof Boolean ? "the boolean " : "the number ") + value;
    }
}
