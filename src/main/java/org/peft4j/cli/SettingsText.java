package org.peft4j.cli;

import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.Json;

/** Settings as a run file would have them, so that what is printed can be copied into one. */
final class SettingsText {
    private SettingsText() {}

    /** The lines of a map, each beginning with {@code indent}. */
    static String of(Map<String, ?> settings, String indent) {
        StringBuilder text = new StringBuilder();
        settings.forEach((key, value) -> {
            text.append(indent).append(scalar(key)).append(':');
            if (value instanceof Map<?, ?> map && !map.isEmpty()) {
                text.append('\n').append(of(keyed(map), indent + "  "));
            } else {
                text.append(' ').append(inline(value)).append('\n');
            }
        });
        return text.toString();
    }

    private static Map<String, ?> keyed(Map<?, ?> map) {
        Map<String, @Nullable Object> keyed = new java.util.LinkedHashMap<>();
        map.forEach((key, value) -> keyed.put(String.valueOf(key), value));
        return keyed;
    }

    private static String inline(@Nullable Object value) {
        if (value instanceof List<?> list) {
            return list.stream().map(SettingsText::inline).collect(Collectors.joining(", ", "[", "]"));
        }
        if (value instanceof Map<?, ?> map) {
            return map.entrySet().stream()
                    .map(entry -> inline(entry.getKey()) + ": " + inline(entry.getValue()))
                    .collect(Collectors.joining(", ", "{", "}"));
        }
        return value instanceof String text ? scalar(text) : String.valueOf(value);
    }

    /** A text in quotes, where YAML would take it for something else without. */
    private static String scalar(String text) {
        boolean plain = text.matches("[\\p{L}_./][\\p{L}\\p{N}_./ @+-]*(?<! )")
                && !text.matches("(?i)null|true|false|yes|no|on|off|\\.inf|\\.nan|[.\\d].*\\d");
        return plain || text.matches("/[^\\s:#,\\[\\]{}'\"]*") ? text : Json.write(text);
    }
}
