package org.peft4j.method;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;

/**
 * Which modules {@link TargetLayers} mean; the rules are those of Hugging Face PEFT:
 *
 * <ol>
 *   <li>A module named in {@code excludeModules} (the path itself or its end) is not adapted.
 *   <li>Nor is one that {@code modulesToSave} names, or one inside or outside of it by path.
 *   <li>The targets have to match. Where they are names and the path is not in the list as a whole,
 *       {@code layersToTransform} has to contain the layer's number: the first number that follows two names, or the
 *       first after {@code layersPattern}.
 * </ol>
 *
 * Compiled once and safe from many threads.
 */
public final class LayerChoice {
    private static final ModulePattern FIRST_NUMBER = ModulePattern.of(".*?\\.[^.]*\\.(?P<idx>\\d+)\\.");

    private final TargetLayers settings;
    private final List<ModulePattern> saved = new ArrayList<>();
    private final Set<Integer> layers;
    private final List<ModulePattern> layer = new ArrayList<>(); // tried in turn

    /**
     * @throws IllegalArgumentException if the targets are still the model's default, or a name is not a regular
     *     expression where one is expected
     */
    public LayerChoice(TargetLayers settings, List<String> modulesToSave) {
        if (settings.targets() instanceof Targets.ModelDefault) {
            throw new IllegalArgumentException(
                    "targets must be given for this model, such as [query, value] or all-linear");
        }
        this.settings = settings;
        modulesToSave.forEach(name -> saved.add(ModulePattern.of("(^|.*\\.)" + name + "($|\\..*)")));
        layers = new HashSet<>(settings.layersToTransform());
        settings.layersPattern()
                .forEach(name -> layer.add(ModulePattern.of("(?:^|.*?\\.)" + name + "\\.(?P<idx>\\d+)\\.")));
        if (layer.isEmpty()) {
            layer.add(FIRST_NUMBER);
        }
    }

    /** Whether the module is adapted; the head has to be left out by the caller if the targets are all-linear. */
    public boolean adapts(String modulePath) {
        if (isExcluded(modulePath) || !settings.targets().matches(modulePath)) {
            return false;
        }
        boolean anyLayer =
                layers.isEmpty() || !(settings.targets() instanceof Targets.Names names) || names.isNamed(modulePath);
        if (anyLayer) {
            return true;
        }
        OptionalInt number = layerOf(modulePath);
        return number.isPresent() && layers.contains(number.getAsInt());
    }

    /** The number of the layer that a module is in, if its path has one where the settings look for it. */
    public OptionalInt layerOf(String modulePath) {
        return layer.stream()
                .map(pattern -> pattern.index(modulePath))
                .filter(OptionalInt::isPresent)
                .findFirst()
                .orElse(OptionalInt.empty());
    }

    /** Whether the module is left out whatever the targets say. */
    public boolean isExcluded(String modulePath) {
        Targets excluded = settings.excludeModules();
        return (excluded != null && excluded.matches(modulePath))
                || saved.stream().anyMatch(pattern -> pattern.begins(modulePath));
    }
}
