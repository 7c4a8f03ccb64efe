package org.peft4j.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.NearestName;

/**
 * One row of a data file, or of a stream in memory. What a column must hold is said by who reads it: each of the readers
 * below throws one {@link MalformedFileException} that names the row, the column and what stands there.
 *
 * @param fields every column in the order of the file, so that a prediction can repeat the row
 * @param file where the row comes from; a name of its own for a stream
 * @param line the line it begins at, or its place in the stream, from 1
 */
public record Row(Map<String, @Nullable Object> fields, Path file, long line) {
    private static final Pattern NUMBER = Pattern.compile("[-+]?(\\d+\\.?\\d*|\\.\\d+)([eE][-+]?\\d+)?");
    private static final Pattern INDEX = Pattern.compile("\\d{1,9}");

    /** {@code "train.jsonl, line 12"} or {@code "row 12 of the stream"}, for messages. */
    public String where() {
        return RowPlaces.where(file, line);
    }

    /** Whether there is something in the column: null is nothing, an empty text is something. */
    public boolean has(String column) {
        return fields.get(column) != null;
    }

    /** A text; it may be empty. */
    public String text(String column) {
        Object value = field(column);
        if (value instanceof String string) {
            return whole(string, column);
        }
        throw wrong("expected a string in column '" + column + "', received " + describe(value));
    }

    /** Some texts, such as the words of a sentence: an array in JSONL. A field of a CSV file is one text. */
    public List<String> texts(String column) {
        List<String> texts = new ArrayList<>();
        for (Object each : list(column, "strings")) {
            if (!(each instanceof String string)) {
                throw wrong("expected a list of strings in column '" + column + "', received " + describe(each)
                        + " in place " + (texts.size() + 1));
            }
            texts.add(whole(string, column));
        }
        return texts;
    }

    /** A label: a text that is not empty, a number or a boolean; numbers that are equal give the same text. */
    public String label(String column) {
        Object value = field(column);
        String label = labelOf(value, column);
        if (label == null) {
            throw wrong("expected a label in column '" + column + "', received " + describe(value)
                    + (value instanceof List
                            ? "; several labels for one text are read by multi-label tasks only"
                            : ""));
        }
        return label;
    }

    /** The labels of a text that may have several or none: an array in JSONL. A field of a CSV file is one label. */
    public List<String> labelsOf(String column) {
        List<String> labels = new ArrayList<>();
        for (Object each : list(column, "labels")) {
            String label = labelOf(each, column);
            if (label == null) {
                throw wrong("expected a list of labels in column '" + column + "', received " + describe(each)
                        + " in place " + (labels.size() + 1));
            }
            labels.add(label);
        }
        return labels;
    }

    /** A finite number that a float32 can hold, or its text, as CSV has it. */
    public double number(String column) {
        Object value = field(column);
        String text = value instanceof String string ? string.strip() : value instanceof Number n ? n.toString() : "";
        if (!NUMBER.matcher(text).matches()) {
            throw wrong("expected a number in column '" + column + "', received "
                    + (text.isEmpty() || value instanceof Number ? describe(value) : "'" + shortened(text) + "'"));
        }
        double number = Double.parseDouble(text);
        if (Math.abs(number) > Float.MAX_VALUE) {
            throw wrong("expected a number of at most " + Float.MAX_VALUE + " in column '" + column + "', received "
                    + shortened(text));
        }
        return number;
    }

    /** A whole number from 0, such as that of a task, or its text, as CSV has it. */
    public int index(String column) {
        Object value = field(column);
        String text = value instanceof Boolean ? null : labelOf(value, column);
        if (text == null || !INDEX.matcher(text).matches()) {
            throw wrong("expected a whole number from 0 in column '" + column + "', received "
                    + (text == null || value instanceof Number ? describe(value) : "'" + shortened(text) + "'"));
        }
        return Integer.parseInt(text);
    }

    /**
     * The messages of a conversation, each with {@code role} and {@code content}, as chat templates want them: an array of
     * objects, or JSON text of one. Messages with {@code from} and {@code value} become such.
     */
    public List<Map<String, @Nullable Object>> messages(String column) {
        field(column);
        return Messages.of(this, column);
    }

    /** The tools that a conversation may use, a JSON schema each: an array, or JSON text of one; null where there are none. */
    public @Nullable List<?> tools(String column) {
        return Messages.tools(this, column);
    }

    private @Nullable String labelOf(@Nullable Object value, String column) {
        if (value instanceof String string && !string.isEmpty()) {
            return whole(string, column);
        }
        if (value instanceof Number number && Double.isFinite(number.doubleValue())
                || value instanceof java.math.BigDecimal) {
            return NumberText.of((Number) value);
        }
        return value instanceof Boolean ? value.toString() : null;
    }

    private List<?> list(String column, String what) {
        Object value = field(column);
        if (value instanceof List<?> list) {
            return list;
        }
        throw wrong("expected a list of " + what + " in column '" + column + "', received " + describe(value)
                + (value instanceof String
                        ? "; write the rows as JSONL, with a list such as [\"a\", \"b\"] there"
                        : ""));
    }

    /** Text that has no UTF-8 form cannot be tokenised: somebody cut it in the middle of a character. */
    String whole(String string, String column) {
        if (string.codePoints().anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE)) {
            throw wrong("half a character (an escape \\ud800 to \\udfff without its other half) in column '" + column
                    + "'; repair the text or take the row out");
        }
        return string;
    }

    private @Nullable Object field(String column) {
        if (!fields.containsKey(column)) {
            throw wrong("no column '" + column + "' in this row" + NearestName.hint(column, fields.keySet()));
        }
        return fields.get(column);
    }

    /** An error about this row, for what a task finds wrong with it. */
    public MalformedFileException wrong(String reason) {
        return RowPlaces.wrong(file, line, reason);
    }

    private static String shortened(String text) {
        return text.length() > 40 ? text.substring(0, 40) + "…" : text;
    }

    static String describe(@Nullable Object value) {
        if (value == null) {
            return "null";
        }
        if (value instanceof Map) {
            return "an object";
        }
        if (value instanceof List) {
            return "an array";
        }
        if (value instanceof String string) {
            return string.isEmpty() ? "an empty text" : "a text";
        }
        if (value instanceof Boolean || value instanceof Number) {
            return (value instanceof Boolean ? "the boolean " : "the number ") + shortened(value.toString());
        }
        return "a value of " + value.getClass().getName();
    }
}
