package org.peft4j.method.spi.lora;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.ModulePattern;
import org.peft4j.method.lora.LoraLayers;

/**
 * Patterns as files have them. Of the patterns that match a module the first counts, and PEFT sorts them whenever it saves a
 * config; so patterns whose order decides are written out, one for each module, which means the same in any order.
 */
final class PatternOrder {
    private PatternOrder() {}

    /** @param paths the modules that the patterns are asked about */
    static <V> Map<String, V> free(Map<String, V> patterns, Collection<String> paths) {
        Map<String, V> sorted = new TreeMap<>(patterns);
        Map<String, @Nullable V> wanted = values(patterns, paths);
        if (wanted.equals(values(sorted, paths))) {
            return sorted;
        }
        Map<String, V> each = new TreeMap<>();
        wanted.forEach((path, value) -> {
            if (value != null) {
                each.put(whole(path), value);
            }
        });
        return each;
    }

    /** The pattern of one module. */
    static String whole(String path) {
        return "^" + path.replace(".", "\\.");
    }

    private static <V> Map<String, @Nullable V> values(Map<String, V> patterns, Collection<String> paths) {
        Function<String, Optional<V>> byPattern = ModulePattern.byEnd(patterns);
        Map<String, @Nullable V> values = new LinkedHashMap<>();
        for (String path : paths) {
            values.put(path, byPattern.apply(path).orElse(null));
        }
        return values;
    }
}
