package org.peft4j.data;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.NearestName;

/**
 * Reads the rows of a data file one after the other: JSONL ({@code .jsonl}, {@code .ndjson}: one object a line, blank
 * lines are skipped) or CSV ({@code .csv}: comma, double quotes, the first row names the columns). UTF-8, with or
 * without a byte order mark.
 *
 * <p>Every problem is a {@link MalformedFileException} that names file and line: no row at all, a row without the text
 * column or whose text is not a string, a missing label, a line that is not JSON, bytes that are not UTF-8, a row of
 * more than 16 MiB. A label may be a number or a boolean; it counts as its text.
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
     * Opens a file.
     *
     * @param text name of the column with the text
     * @param label name of the column with the label; null if labels are not wanted
     */
    public static RowReader open(Path file, String text, @Nullable String label) throws IOException {
        if (!Files.isRegularFile(file)) {
            throw new NoSuchFileException(file.toString(), null, "no such data file");
        }
        String name = file.toString().toLowerCase(Locale.ROOT);
        if (name.endsWith(".jsonl") || name.endsWith(".ndjson")) {
            return new RowReader(file, text, label, new JsonLines(file));
        }
        if (name.endsWith(".csv")) {
            return new RowReader(file, text, label, new CsvRows(file));
        }
        throw new MalformedFileException(
                file, -1, "expected a data file that ends with .jsonl, .ndjson or .csv; rename or convert it");
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
                throw new MalformedFileException(file, -1, "no row in the file; a data file needs at least one");
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

    private String text(Map<String, @Nullable Object> fields) throws IOException {
        Object value = field(fields, text);
        if (value instanceof String string) {
            return string;
        }
        throw wrong("expected a string in column '" + text + "', received " + describe(value));
    }

    private String label(Map<String, @Nullable Object> fields, String label) throws IOException {
        Object value = field(fields, label);
        if (value instanceof String || value instanceof Number || value instanceof Boolean) {
            String string = value.toString();
            if (!string.isEmpty()) {
                return string;
            }
        }
        throw wrong("expected a label in column '" + label + "', received " + describe(value));
    }

    private @Nullable Object field(Map<String, @Nullable Object> fields, String column) throws IOException {
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
