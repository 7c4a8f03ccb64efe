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
 * How patterns for ends of paths, as files have them, find the modules that they are about. Of the patterns that match a module the
 * first counts, and PEFT sorts them whenever it saves a config; so patterns whose order decides are written out, one for each module,
 * which means the same in any order.
 */
public enum PatternRule {
    /** That of {@code rank_pattern} and {@code alpha_pattern}, see {@link ModulePattern#byEnd}. */
    RANKS {
        @Override
        public <V> Function<String, Optional<V>> of(Map<String, V> patterns) {
            return ModulePattern.byEnd(patterns);
        }

        @Override
        public String whole(String path) {
            return "^" + path.replace(".", "\\.");
        }
    },
    /**
     * That of {@code block_size_pattern} and {@code n_frequency_pattern}: a key is a regular expression for what follows a dot up to
     * the path's end; where none matches, a key that is the whole path counts.
     */
    SIZES {
        @Override
        public <V> Function<String, Optional<V>> of(Map<String, V> patterns) {
            Map<ModulePattern, V> compiled = new LinkedHashMap<>();
            patterns.forEach((key, value) -> compiled.put(ModulePattern.of(".*\\." + key + "$"), value));
            return path -> compiled.entrySet().stream()
                    .filter(entry -> entry.getKey().begins(path))
                    .map(Map.Entry::getValue)
                    .findFirst()
                    .or(() -> Optional.ofNullable(patterns.get(path)));
        }

        @Override
        public String whole(String path) {
            return path;
        }
    },
    /** That of OSF's {@code rank_pattern}: a key is a regular expression that is found somewhere in the path. */
    SEARCH {
        @Override
        public <V> Function<String, Optional<V>> of(Map<String, V> patterns) {
            Map<ModulePattern, V> compiled = new LinkedHashMap<>();
            patterns.forEach((key, value) -> compiled.put(ModulePattern.of(key), value));
            return path -> compiled.entrySet().stream()
                    .filter(entry -> entry.getKey().isIn(path))
                    .map(Map.Entry::getValue)
                    .findFirst();
        }

        @Override
        public String whole(String path) {
            return "^" + path.replace(".", "\\.") + "$";
        }

        @Override
        String where() {
            return "is found in";
        }
    };

    /** What is done to each map of patterns that settings have. */
    @FunctionalInterface
    public interface Change {
        /**
         * The patterns in their place.
         *
         * @param setting its name in files, such as {@code rank_pattern}
         */
        Map<String, Object> of(String setting, Map<String, Object> patterns);

        /** The same for values of any type, which stay what they are. */
        @SuppressWarnings("unchecked") // values are handed on, none is made
        default <V> Map<String, V> apply(String setting, Map<String, V> patterns) {
            return (Map<String, V>) of(setting, (Map<String, Object>) patterns);
        }
    }

    /** The value of a module, by its path. */
    public abstract <V> Function<String, Optional<V>> of(Map<String, V> patterns);

    /** The pattern of one module. */
    public abstract String whole(String path);

    /** How it is compared with a path, for messages. */
    String where() {
        return "matches the end of";
    }

    /**
     * Patterns that mean the same in any order.
     *
     * @param paths the modules that the patterns are asked about
     */
    public <V> Map<String, V> free(Map<String, V> patterns, Collection<String> paths) {
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
    public <V> Map<String, V> respelled(
            Map<String, V> patterns, Collection<String> paths, UnaryOperator<String> from, UnaryOperator<String> to) {
        Function<String, Optional<V>> byPattern = of(patterns);
        boolean same = paths.stream()
                .allMatch(path -> byPattern.apply(from.apply(path)).equals(byPattern.apply(to.apply(path))));
        if (same) {
            return patterns;
        }
        Map<String, @Nullable V> wanted = new LinkedHashMap<>();
        paths.forEach(path -> wanted.put(path, byPattern.apply(from.apply(path)).orElse(null)));
        return each(wanted, to);
    }

    /**
     * Refuses patterns of a new adapter that would change nothing, misspelt ones above all. PEFT passes over them, and so does reading
     * its files, where the tensors say what was trained.
     *
     * @param setting its name in files
     * @param adapted the modules that are adapted
     * @throws IllegalArgumentException naming the pattern
     */
    public void check(String setting, Map<String, ?> patterns, Collection<String> adapted) {
        for (Map.Entry<String, ?> one : patterns.entrySet()) {
            Function<String, ?> matched = of(Map.of(one.getKey(), one.getValue()));
            if (adapted.stream().allMatch(path -> matched.apply(path).equals(Optional.empty()))) {
                throw new IllegalArgumentException(setting + ": '" + one.getKey()
                        + "' " + where() + " none of the adapted modules, such as "
                        + adapted.iterator().next());
            }
        }
    }

    private <V> Map<String, V> each(Map<String, @Nullable V> wanted, UnaryOperator<String> spelled) {
        Map<String, V> each = new TreeMap<>();
        wanted.forEach((path, value) -> {
            if (value != null) {
                each.put(whole(spelled.apply(path)), value);
            }
        });
        return each;
    }

    private <V> Map<String, @Nullable V> values(Map<String, V> patterns, Collection<String> paths) {
        Function<String, Optional<V>> byPattern = of(patterns);
        Map<String, @Nullable V> values = new LinkedHashMap<>();
        for (String path : paths) {
            values.put(path, byPattern.apply(path).orElse(null));
        }
        return values;
    }
}
