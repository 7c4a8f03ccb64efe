package org.peft4j.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * JSON for other programs: keys in the order of the map, numbers with all their digits ({@code Float} and {@code Double}
 * read back to the same bits), null for numbers that JSON cannot express.
 */
final class JsonOutput {
    private static final JsonMapper MAPPER = JsonMapper.builder().build();
    private static final ObjectWriter LINE = MAPPER.writer();
    private static final ObjectWriter PRETTY = MAPPER.writerWithDefaultPrettyPrinter();

    private JsonOutput() {}

    /** One line, without its end. */
    static String line(Object value) {
        return write(LINE, value);
    }

    /** Many lines, to be read by people too; without the last line's end. */
    static String pretty(Object value) {
        return write(PRETTY, value);
    }

    private static String write(ObjectWriter writer, Object value) {
        try {
            return escaped(writer.writeValueAsString(expressible(value)));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("not expressible in JSON: " + value, e);
        }
    }

    /** Half a character, which a row may have, has no bytes in UTF-8; it stays what it was as an escape. */
    private static String escaped(String json) {
        if (json.codePoints().noneMatch(JsonOutput::isHalf)) {
            return json;
        }
        StringBuilder escaped = new StringBuilder();
        json.codePoints().forEach(c -> {
            if (isHalf(c)) {
                escaped.append(String.format("\\u%04x", c));
            } else {
                escaped.appendCodePoint(c);
            }
        });
        return escaped.toString();
    }

    private static boolean isHalf(int c) {
        return c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE;
    }

    private static @Nullable Object expressible(@Nullable Object value) {
        if (value instanceof Double || value instanceof Float) {
            return Double.isFinite(((Number) value).doubleValue()) ? value : null;
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, @Nullable Object> copy = new LinkedHashMap<>();
            map.forEach((key, item) -> copy.put(String.valueOf(key), expressible(item)));
            return copy;
        }
        return value instanceof Collection<?> list
                ? list.stream().map(JsonOutput::expressible).toList()
                : value;
    }
}
