package org.peft4j.method.spi;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.ModulePattern;

/**
 * Patterns for ends of paths as files have them. Of the patterns that match a module the first counts, and PEFT sorts them
 * whenever it saves a config; so patterns whose order decides are written out, one for each module, which means the same in any
 * order.
 */
public final class PatternOrder {
    /** What is done to each map of patterns that settings have. */
    @FunctionalInterface
    public interface Change {
        /** The patterns in their place. */
        Map<String, Object> of(Map<String, Object> patterns);

        /** The same for values of any type, which stay what they are. */
        @SuppressWarnings("unchecked") // values are handed on, none is made
        default <V> Map<String, V> apply(Map<String, V> patterns) {
            return (Map<String, V>) of((Map<String, Object>) patterns);
        }
    }

    private PatternOrder() {}

    /** @param paths the modules that the patterns are asked about */
    public static <V> Map<String, V> free(Map<String, V> patterns, Collection<String> paths) {
        Map<String, V> sorted = new TreeMap<>(patterns);
        Map<String, @Nullable V> wanted = values(patterns, paths);
        return wanted.equals(values(sorted, paths)) ? sorted : each(wanted, UnaryOperator.identity());
    }

    /**
     * Patterns about other paths of the same modules: as they are if they mean the same, else one for each module.
     *
     * @param paths of the modules
     * @param from the path that the patterns are about, of each of these
     * @param to the path that they shall be about
     */
    public static <V> Map<String, V> respelled(
            Map<String, V> patterns, Collection<String> paths, UnaryOperator<String> from, UnaryOperator<String> to) {
        Function<String, Optional<V>> byPattern = ModulePattern.byEnd(patterns);
        boolean same = paths.stream()
                .allMatch(path -> byPattern.apply(from.apply(path)).equals(byPattern.apply(to.apply(path))));
        if (same) {
            return patterns;
        }
        Map<String, @Nullable V> wanted = new LinkedHashMap<>();
        paths.forEach(path -> wanted.put(path, byPattern.apply(from.apply(path)).orElse(null)));
        return each(wanted, to);
    }

    /** The pattern of one module. */
    public static String whole(String path) {
        return "^" + path.replace(".", "\\.");
    }

    private static <V> Map<String, V> each(Map<String, @Nullable V> wanted, UnaryOperator<String> spelled) {
        Map<String, V> each = new TreeMap<>();
        wanted.forEach((path, value) -> {
            if (value != null) {
                each.put(whole(spelled.apply(path)), value);
            }
        });
        return each;
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
