package org.peft4j.run.files;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** JSON as run files have it: keys in the order of the map, and null for numbers that JSON cannot express (NaN). */
final class RunJson {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final ObjectWriter PRETTY = MAPPER.writerWithDefaultPrettyPrinter();

    private RunJson() {}

    static String line(Map<String, ?> map) {
        return write(MAPPER.writer(), map);
    }

    static String pretty(Map<String, ?> map) {
        return write(PRETTY, map) + "\n";
    }

    private static String write(ObjectWriter writer, Map<String, ?> map) {
        try {
            return writer.writeValueAsString(expressible(map));
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("not expressible in JSON: " + map, e);
        }
    }

    private static @Nullable Object expressible(@Nullable Object value) {
        if (value instanceof Double number) {
            return Double.isFinite(number) ? number : null;
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, @Nullable Object> copy = new LinkedHashMap<>();
            map.forEach((key, item) -> copy.put(String.valueOf(key), expressible(item)));
            return copy;
        }
        return value instanceof Collection<?> list
                ? list.stream().map(RunJson::expressible).toList()
                : value;
    }
}
