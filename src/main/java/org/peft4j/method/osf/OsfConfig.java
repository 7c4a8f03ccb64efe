package org.peft4j.method.osf;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.ModulePattern;
import org.peft4j.method.TargetLayers;

/**
 * Settings of OSF, training in the orthogonal complement: {@code W = U diag(s) Vᵀ}, of which the {@code effective_rank} largest
 * singular values and their vectors stay, and all others are trained. Gradients of the vectors lose what lies in the space of those
 * that stay, so that what the model knew is kept when tasks follow each other. More numbers are trained than with a small LoRA:
 * {@code (min - effective_rank) (in + out + 1)} of a layer. A rank is a whole number, or a share of the layer's smaller side, which is
 * rounded down.
 *
 * @param effectiveRank singular values that stay: a whole number from 1 on, or a share below 1; null: half of them
 * @param rankPattern others for the layers in whose path a regular expression is found; the first that is found counts
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2504.07097">Sculpting Subspaces: Constrained Full Fine-Tuning in LLMs for Continual
 *     Learning</a>
 */
public record OsfConfig(
        @Nullable Double effectiveRank,
        Map<String, Double> rankPattern,
        TargetLayers layers,
        List<String> modulesToSave)
        implements LinearMethodConfig {
    public OsfConfig {
        if (effectiveRank != null) {
            check("effectiveRank must be", effectiveRank);
        }
        rankPattern.forEach((pattern, rank) -> {
            ModulePattern.of(pattern);
            check("rankPattern must have ranks, each", rank);
        });
        rankPattern = Collections.unmodifiableMap(new LinkedHashMap<>(rankPattern));
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    private static void check(String what, double rank) {
        if (!(rank > 0) || rank >= 1 && (rank != Math.rint(rank) || rank > Integer.MAX_VALUE)) {
            throw new IllegalArgumentException(what
                    + " a whole number from 1 on, or a share of the smaller side, above 0 and below 1, got " + rank);
        }
    }

    /** PEFT's defaults: half of the singular values of the model's usual targets. */
    public static OsfConfig defaults() {
        return new OsfConfig(null, Map.of(), TargetLayers.modelDefault(), List.of());
    }

    /** The same where so many singular values stay, or such a share of them. */
    public OsfConfig withEffectiveRank(@Nullable Double value) {
        return new OsfConfig(value, rankPattern, layers, modulesToSave);
    }

    /** The same with other ranks for some layers. */
    public OsfConfig withRankPattern(Map<String, Double> value) {
        return new OsfConfig(effectiveRank, value, layers, modulesToSave);
    }

    @Override
    public OsfConfig withLayers(TargetLayers value) {
        return new OsfConfig(effectiveRank, rankPattern, value, modulesToSave);
    }

    @Override
    public OsfConfig withModulesToSave(List<String> modules) {
        return new OsfConfig(effectiveRank, rankPattern, layers, modules);
    }
}
