package org.peft4j.method.spi;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.peft4j.method.ModulePattern;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Points;

/**
 * Settings of single layers as Hugging Face PEFT reads {@code block_size_pattern} and {@code n_frequency_pattern}: a key is a
 * regular expression for what follows a dot up to the path's end, and the first that matches counts; where none does, a key that is
 * the whole path counts. ({@code rank_pattern} has another rule, see {@link ModulePattern#byEnd}.)
 */
public final class EndPatterns {
    private EndPatterns() {}

    /** The value of a layer, by its path. */
    public static <V> Function<String, Optional<V>> of(Map<String, V> patterns) {
        Map<ModulePattern, V> compiled = new LinkedHashMap<>();
        patterns.forEach((key, value) -> compiled.put(ModulePattern.of(".*\\." + key + "$"), value));
        return path -> compiled.entrySet().stream()
                .filter(entry -> entry.getKey().begins(path))
                .map(Map.Entry::getValue)
                .findFirst()
                .or(() -> Optional.ofNullable(patterns.get(path)));
    }

    /**
     * Refuses a pattern of a new adapter that none of its layers has: it would change nothing.
     *
     * @throws IllegalArgumentException naming it
     */
    public static void check(String setting, Map<String, ?> patterns, AdaptedLayers layers) {
        for (Map.Entry<String, ?> one : patterns.entrySet()) {
            Function<String, ? extends Optional<?>> matched = of(Map.of(one.getKey(), one.getValue()));
            if (!layers.read()
                    && layers.all().stream()
                            .allMatch(layer -> matched.apply(layer.path()).isEmpty())) {
                throw new IllegalArgumentException(setting + ": '" + one.getKey()
                        + "' matches the end of none of the adapted modules, such as "
                        + layers.all().get(0).path());
            }
        }
    }

    /**
     * Patterns that mean the same in any order, as PEFT sorts them whenever it saves a config: whole paths, where the order decides.
     */
    public static <V> Map<String, V> free(Map<String, V> patterns, Points points) {
        UnaryOperator<String> written = PeftTensorNames.written(points);
        List<String> paths = paths(points).stream().map(written).toList();
        Map<String, V> sorted = new TreeMap<>(patterns);
        Function<String, Optional<V>> wanted = of(patterns);
        Function<String, Optional<V>> found = of(sorted);
        boolean same = paths.stream().allMatch(path -> wanted.apply(path).equals(found.apply(path)));
        return same ? sorted : each(wanted, paths, UnaryOperator.identity(), UnaryOperator.identity());
    }

    /**
     * Patterns about other paths of the same layers: as they are if they mean the same, else whole paths.
     *
     * @param from the path that the patterns are about, of each of the points'
     * @param to the path that they shall be about
     */
    public static <V> Map<String, V> respelled(
            Map<String, V> patterns, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        Function<String, Optional<V>> values = of(patterns);
        List<String> paths = paths(points);
        boolean same =
                paths.stream().allMatch(path -> values.apply(from.apply(path)).equals(values.apply(to.apply(path))));
        return same ? patterns : each(values, paths, from, to);
    }

    private static List<String> paths(Points points) {
        return points.linears().stream().map(LinearPoint::path).toList();
    }

    private static <V> Map<String, V> each(
            Function<String, Optional<V>> values,
            Collection<String> paths,
            UnaryOperator<String> from,
            UnaryOperator<String> to) {
        Map<String, V> each = new TreeMap<>();
        paths.forEach(path -> values.apply(from.apply(path)).ifPresent(value -> each.put(to.apply(path), value)));
        return each;
    }
}
