package org.peft4j.method.spi.lora;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.peft4j.method.ModulePattern;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;
import org.peft4j.method.spi.TargetModules;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;

/**
 * Settings of a new adapter that would change nothing in this model, a misspelt pattern above all. PEFT passes over them, and so
 * does reading its files, where the tensors say what was trained.
 */
final class LoraWithoutEffect {
    private LoraWithoutEffect() {}

    /** @throws IllegalArgumentException if there is one */
    static void refuse(LoraConfig config, Points points, List<LoraSite> sites) {
        List<String> adapted = sites.stream().map(site -> site.point().path()).toList();
        patterns("rank_pattern", config.rankPattern(), adapted);
        patterns("alpha_pattern", config.alphaPattern(), adapted);
        TargetModules.checkExcluded(
                config.excludeModules(),
                LoraSite.points(points).map(Point::path).toList());
        layers(config, adapted);
    }

    private static void patterns(String setting, Map<String, ?> patterns, List<String> adapted) {
        for (Map.Entry<String, ?> one : patterns.entrySet()) {
            Function<String, ?> matched = ModulePattern.byEnd(Map.of(one.getKey(), one.getValue()));
            if (adapted.stream().allMatch(path -> matched.apply(path).equals(Optional.empty()))) {
                throw new IllegalArgumentException(setting + ": '" + one.getKey()
                        + "' matches the end of none of the adapted modules, such as " + adapted.get(0));
            }
        }
    }

    private static void layers(LoraConfig config, List<String> adapted) {
        LoraLayers layers = new LoraLayers(config);
        Set<Integer> found = adapted.stream()
                .flatMapToInt(path -> layers.layerOf(path).stream())
                .boxed()
                .collect(Collectors.toSet());
        for (int layer : config.layersToTransform()) {
            if (!found.contains(layer)) {
                throw new IllegalArgumentException(
                        "layers_to_transform: no module that targets mean is in layer " + layer);
            }
        }
    }
}
