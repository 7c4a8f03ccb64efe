package org.peft4j.method.lora;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Function;
import org.peft4j.method.ModulePattern;
import org.peft4j.method.Targets;

/**
 * Which modules a {@link LoraConfig} adapts, and each one's rank and scale; the rules are those of Hugging Face PEFT:
 *
 * <ol>
 *   <li>A module named in {@code excludeModules} (the path itself or its end) is not adapted.
 *   <li>Nor is one that {@code modulesToSave} names, or one inside or outside of it by path.
 *   <li>The targets have to match. Where they are names and the path is not in the list as a whole,
 *       {@code layersToTransform} has to contain the layer's number: the first number that follows two names, or the
 *       first after {@code layersPattern}.
 *   <li>A key of {@code rankPattern} or {@code alphaPattern} is a regular expression for the end of the path, beginning
 *       at a dot or at the start; the first key that matches counts.
 * </ol>
 *
 * Compiled once and safe from many threads.
 */
public final class LoraLayers {
    private static final ModulePattern FIRST_NUMBER = ModulePattern.of(".*?\\.[^.]*\\.(?P<idx>\\d+)\\.");

    private final LoraConfig config;
    private final List<ModulePattern> saved = new ArrayList<>();
    private final Set<Integer> layers;
    private final List<ModulePattern> layer = new ArrayList<>(); // tried in turn
    private final Function<String, Optional<Integer>> ranks;
    private final Function<String, Optional<Double>> alphas;

    /**
     * @throws IllegalArgumentException if the targets are still the model's default, or a name is not a regular
     *     expression where one is expected
     */
    public LoraLayers(LoraConfig config) {
        if (config.targets() instanceof Targets.ModelDefault) {
            throw new IllegalArgumentException(
                    "targets must be given for this model, such as [query, value] or all-linear");
        }
        this.config = config;
        config.modulesToSave().forEach(name -> saved.add(ModulePattern.of("(^|.*\\.)" + name + "($|\\..*)")));
        layers = new HashSet<>(config.layersToTransform());
        config.layersPattern()
                .forEach(name -> layer.add(ModulePattern.of("(?:^|.*?\\.)" + name + "\\.(?P<idx>\\d+)\\.")));
        if (layer.isEmpty()) {
            layer.add(FIRST_NUMBER);
        }
        ranks = byPattern(config.rankPattern());
        alphas = byPattern(config.alphaPattern());
    }

    /** What patterns for the end of a path, in their order, give for a module's path: the value of the first that matches. */
    public static <V> Function<String, Optional<V>> byPattern(Map<String, V> patterns) {
        Map<ModulePattern, V> compiled = new LinkedHashMap<>();
        patterns.forEach((key, value) -> compiled.put(ModulePattern.of("(.*\\.)?(" + key + ")$"), value));
        return path -> compiled.entrySet().stream()
                .filter(entry -> entry.getKey().begins(path))
                .map(Map.Entry::getValue)
                .findFirst();
    }

    /** Whether the module is adapted; the head has to be left out by the caller if the targets are all-linear. */
    public boolean adapts(String modulePath) {
        if (isExcluded(modulePath) || !config.targets().matches(modulePath)) {
            return false;
        }
        boolean anyLayer =
                layers.isEmpty() || !(config.targets() instanceof Targets.Names names) || names.isNamed(modulePath);
        if (anyLayer) {
            return true;
        }
        OptionalInt number = layerOf(modulePath);
        return number.isPresent() && layers.contains(number.getAsInt());
    }

    /** The number of the layer that a module is in, if its path has one where the config looks for it. */
    public OptionalInt layerOf(String modulePath) {
        return layer.stream()
                .map(pattern -> pattern.index(modulePath))
                .filter(OptionalInt::isPresent)
                .findFirst()
                .orElse(OptionalInt.empty());
    }

    /** Whether the module is left out whatever the targets say. */
    public boolean isExcluded(String modulePath) {
        Targets excluded = config.excludeModules();
        return (excluded != null && excluded.matches(modulePath))
                || saved.stream().anyMatch(pattern -> pattern.begins(modulePath));
    }

    /** The rank of an adapted module. */
    public int rank(String modulePath) {
        return ranks.apply(modulePath).orElse(config.r());
    }

    /** Alpha of an adapted module. */
    public double alpha(String modulePath) {
        return alphas.apply(modulePath).orElse(config.alpha());
    }

    /** What B A x is multiplied with: alpha / r, or alpha / sqrt(r). */
    public double scale(String modulePath) {
        int r = rank(modulePath);
        return alpha(modulePath) / (config.rslora() ? Math.sqrt(r) : r);
    }
}
