package org.peft4j.method;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What of a model itself is trained: all that the settings leave. A module is meant if it is in one of the parts, of the blocks in
 * one of the layers, if {@code targets} match it, and {@code exclude_modules} do not.
 *
 * @param parts of the model; empty: all of it, or the blocks alone where layers are given
 * @param layers numbers of blocks, from 0, or from the end: -1 is the last one; empty: all
 * @param targets modules in them, by names or ends of their paths, a regular expression, or all linear layers but the head; null: all
 * @param excludeModules modules that stay frozen, by names, ends of their paths, or a regular expression; null: none
 */
public record ModelParts(
        List<ModelPart> parts,
        List<Integer> layers,
        @Nullable Targets targets,
        @Nullable Targets excludeModules) {
    /** All of the model. */
    public static final ModelParts ALL = new ModelParts(List.of(), List.of(), null, null);

    public ModelParts {
        parts = parts.stream().distinct().sorted().toList(); // same file for the same settings
        layers = layers.stream().distinct().sorted().toList();
        if (!layers.isEmpty() && !parts.isEmpty() && !parts.contains(ModelPart.BLOCKS)) {
            throw new IllegalArgumentException(
                    "layers are numbers of blocks, and parts have none: add blocks to parts, or leave"
                            + " layers out; got layers " + layers);
        }
        targets = targets instanceof Targets.ModelDefault ? null : targets;
        if (targets instanceof Targets.None) {
            throw new IllegalArgumentException(
                    "targets must name at least one module, or be left out: nothing would be trained");
        }
        if (excludeModules != null
                && !(excludeModules instanceof Targets.Names || excludeModules instanceof Targets.Regex)) {
            throw new IllegalArgumentException("excludeModules must be a list of names or a regular expression, got '"
                    + excludeModules.toTree() + "'");
        }
    }

    /** These parts as a whole. */
    public static ModelParts of(ModelPart... parts) {
        return new ModelParts(List.of(parts), List.of(), null, null);
    }

    /** These blocks as a whole. */
    public static ModelParts layers(Integer... numbers) {
        return new ModelParts(List.of(), List.of(numbers), null, null);
    }

    /** The same, and of them these modules alone. */
    public ModelParts withTargets(@Nullable Targets value) {
        return new ModelParts(parts, layers, value, excludeModules);
    }

    /** The same without these modules. */
    public ModelParts withoutModules(@Nullable Targets value) {
        return new ModelParts(parts, layers, targets, value);
    }

    /** Whether a part is meant, as a whole or some of it. */
    public boolean has(ModelPart part) {
        return parts.isEmpty() ? layers.isEmpty() || part == ModelPart.BLOCKS : parts.contains(part);
    }
}
