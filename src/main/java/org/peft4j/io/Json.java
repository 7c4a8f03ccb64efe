package org.peft4j.io;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/**
 * JSON files: read strictly (UTF-8, no duplicate keys, nothing after the object, nesting and size bounded), written
 * stably.
 *
 * <p>An object is a {@code Map<String, Object>} in the order of the file, an array a {@code List<Object>}, a whole
 * number an {@code Integer}, {@code Long} or {@code BigInteger}, another number a {@code Double}, and null is null. All
 * of it is immutable.
 */
public final class Json {
    /** The longest file that is read. */
    public static final int MAX_BYTES = 64 << 20;

    private static final int MAX_NESTING = 200;
    private static final int MOST_SHOWN = 200;

    /** Knows UTF-8 only: with detection, the same bytes might mean something else to us than to other readers. */
    public static final JsonFactory FACTORY = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .disable(JsonFactory.Feature.CHARSET_DETECTION)
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES) // names from files would stay for the life of the process
            .streamReadConstraints(
                    StreamReadConstraints.builder().maxNestingDepth(MAX_NESTING).build())
            .build();

    private static final ObjectReader READER = JsonMapper.builder(FACTORY)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build()
            .readerFor(Object.class);

    private Json() {}

    /**
     * Reads a file that holds one object.
     *
     * @throws MalformedFileException if it is longer than {@link #MAX_BYTES} or no such object; says line and column
     */
    public static Map<String, @Nullable Object> readObject(Path path) throws IOException {
        return readObject(path, Bytes.readFile(path, MAX_BYTES));
    }

    /** Reads a file that holds a list of objects. */
    public static List<Map<String, @Nullable Object>> readObjects(Path path) throws IOException {
        Object value = readValue(path, Bytes.readFile(path, MAX_BYTES));
        List<Map<String, @Nullable Object>> objects = new ArrayList<>();
        if (!(value instanceof List<?> list)) {
            throw new MalformedFileException(
                    path, 0, "file must hold a JSON array of objects, […], got " + shown(value));
        }
        for (Object item : list) {
            if (!(item instanceof Map<?, ?> object)) {
                throw new MalformedFileException(
                        path, 0, "file must hold a JSON array of objects, got " + shown(item) + " in it");
            }
            objects.add(frozenObject(path, object));
        }
        return objects;
    }

    /** The same for bytes that are in memory already; {@code path} is for messages. */
    public static Map<String, @Nullable Object> readObject(Path path, byte[] bytes) throws MalformedFileException {
        Object value = readValue(path, bytes);
        if (!(value instanceof Map<?, ?> object)) {
            throw new MalformedFileException(
                    path,
                    0,
                    "file must hold a JSON object, {…}, got "
                            + (value instanceof List ? "an array" : value == null ? "null" : "a single value"));
        }
        return frozenObject(path, object);
    }

    /**
     * The value that a text inside of other data holds.
     *
     * @throws IllegalArgumentException if it is no JSON; says why
     */
    public static @Nullable Object parse(String text) {
        try {
            return READER.readValue(text);
        } catch (JacksonException e) {
            throw new IllegalArgumentException("no valid JSON" + place(e) + ": " + SyntaxErrors.describe(e), e);
        } catch (IOException e) {
            throw new AssertionError("reading from memory failed", e);
        }
    }

    private static @Nullable Object readValue(Path path, byte[] bytes) throws MalformedFileException {
        checkIsText(path, bytes);
        try {
            return READER.readValue(bytes);
        } catch (JacksonException e) {
            long offset = e.getLocation() == null ? -1 : e.getLocation().getByteOffset();
            throw new MalformedFileException(
                    path, offset, "no valid JSON" + place(e) + ": " + SyntaxErrors.describe(e), e);
        } catch (IOException e) {
            throw new AssertionError("reading from memory failed", e);
        }
    }

    /** Says by name what people have instead of JSON: pointers, pages, archives, other encodings. */
    private static void checkIsText(Path path, byte[] bytes) throws MalformedFileException {
        String other = ForeignFormats.describe(bytes);
        if (other != null) {
            throw new MalformedFileException(path, 0, other);
        }
        Utf8.check(path, bytes, 0);
        if (bytes.length > 2 && bytes[0] == (byte) 0xef && bytes[1] == (byte) 0xbb && bytes[2] == (byte) 0xbf) {
            throw new MalformedFileException(
                    path, 0, "JSON does not begin with a byte order mark; save it as UTF-8 without one");
        }
    }

    private static String place(JacksonException e) {
        int column = SyntaxErrors.column(e);
        return column < 0 ? "" : " at line " + SyntaxErrors.line(e) + ", column " + column;
    }

    /**
     * Writes maps, lists, texts, numbers, booleans and null exactly as Python's {@code json.dumps(value, indent=2,
     * sort_keys=True)}: the same value gives the same text, here and there. No newline at the end.
     *
     * @throws IllegalArgumentException if there is anything else in it, or a number that is not finite; says where
     */
    public static String write(@Nullable Object value) {
        return PythonJsonWriter.write(value);
    }

    /** A value as it stands in a file, in one line, for messages: a text is in quotes. */
    public static String shown(@Nullable Object value) {
        String text = write(value).replaceAll("\\s*\\n\\s*", " ");
        return text.length() > MOST_SHOWN ? text.substring(0, MOST_SHOWN) + "…" : text;
    }

    private static @Nullable Object frozen(Path path, @Nullable Object value) throws MalformedFileException {
        if (value instanceof Map<?, ?> object) {
            return frozenObject(path, object);
        }
        if (value instanceof List<?> array) {
            List<@Nullable Object> copy = new ArrayList<>(array.size());
            for (Object element : array) {
                copy.add(frozen(path, element));
            }
            return Collections.unmodifiableList(copy);
        }
        if (value instanceof Double number && !Double.isFinite(number)) {
            throw new MalformedFileException(path, -1, "numbers must be below 1.8e308, a larger one is in the file");
        }
        return value;
    }

    private static Map<String, @Nullable Object> frozenObject(Path path, Map<?, ?> object)
            throws MalformedFileException {
        Map<String, @Nullable Object> copy = new LinkedHashMap<>();
        for (Map.Entry<?, ?> entry : object.entrySet()) {
            copy.put((String) entry.getKey(), frozen(path, entry.getValue()));
        }
        return Collections.unmodifiableMap(copy);
    }
}
