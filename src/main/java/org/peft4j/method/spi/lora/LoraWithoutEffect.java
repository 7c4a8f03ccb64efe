package org.peft4j.method.spi.lora;

import java.util.List;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;
import org.peft4j.method.spi.PatternRule;
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
        List<String> adapted = sites.stream()
                .map(site -> ParameterTargets.judgedBy(config, site.point()))
                .toList();
        if (config.excludeModules() != null && config.targets() instanceof Targets.None) {
            throw new IllegalArgumentException(
                    "exclude_modules must be left out where targets are []: target_parameters"
                            + " are adapted all the same, got "
                            + config.excludeModules().toTree());
        }
        if (!config.layersToTransform().isEmpty() && !config.targetParameters().isEmpty()) {
            throw new IllegalArgumentException("layers_to_transform must be left out with target_parameters, which are"
                    + " adapted in all layers; name the tensors of some layers by longer ends of their paths, got "
                    + config.layersToTransform());
        }
        PatternRule.RANKS.check("rank_pattern", config.rankPattern(), adapted);
        PatternRule.RANKS.check("alpha_pattern", config.alphaPattern(), adapted);
        TargetModules.checkExcluded(
                config.excludeModules(),
                LoraSite.points(points).map(Point::path).toList());
        TargetModules.checkLayers(config.layersToTransform(), new LoraLayers(config)::layerOf, adapted);
    }
}
