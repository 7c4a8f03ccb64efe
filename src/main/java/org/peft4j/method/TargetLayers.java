package org.peft4j.method;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Which linear layers a method adapts, with the names and the meaning of Hugging Face PEFT; {@link LayerChoice} answers for a path.
 *
 * @param targets modules to adapt: a list of names or suffixes, "all-linear", or a regular expression
 * @param excludeModules modules that are not adapted, whatever the targets say: names, suffixes or a regular expression; null: none
 * @param layersToTransform numbers of the layers to adapt, all if empty; only with a list of targets
 * @param layersPattern names of the list of layers in the path, such as "layer", tried in turn; empty takes the first number
 */
public record TargetLayers(
        Targets targets,
        @Nullable Targets excludeModules,
        List<Integer> layersToTransform,
        List<String> layersPattern) {
    public TargetLayers {
        if (targets instanceof Targets.None) {
            throw new IllegalArgumentException("targets must name at least one module, such as [query, value]");
        }
        if (excludeModules != null
                && !(excludeModules instanceof Targets.Names || excludeModules instanceof Targets.Regex)) {
            throw new IllegalArgumentException("excludeModules must be a list of names or a regular expression, got '"
                    + excludeModules.toTree() + "'");
        }
        layersToTransform = layersToTransform.stream().distinct().sorted().toList(); // same file for the same settings
        if (!layersToTransform.isEmpty()
                && !(targets instanceof Targets.Names || targets instanceof Targets.ModelDefault)) {
            throw new IllegalArgumentException(
                    "layersToTransform needs a list of targets, got targets '" + targets.toTree() + "'");
        }
        if (!layersToTransform.isEmpty() && layersToTransform.get(0) < 0) {
            throw new IllegalArgumentException("layersToTransform must not be negative, got " + layersToTransform);
        }
        if (!layersPattern.isEmpty() && layersToTransform.isEmpty()) {
            throw new IllegalArgumentException(
                    "layersPattern needs layers to transform, got " + layersPattern + " and none");
        }
        layersPattern = List.copyOf(layersPattern);
        layersPattern.forEach(ModulePattern::of);
    }

    /** What is usual for the model. */
    public static TargetLayers modelDefault() {
        return of(Targets.modelDefault());
    }

    /** Modules by names or ends of their paths, in all layers. */
    public static TargetLayers of(String... names) {
        return of(Targets.names(names));
    }

    /** These modules, in all layers. */
    public static TargetLayers of(Targets targets) {
        return new TargetLayers(targets, null, List.of(), List.of());
    }

    /** The same choice among other targets. */
    public TargetLayers withTargets(Targets other) {
        return new TargetLayers(other, excludeModules, layersToTransform, layersPattern);
    }
}
