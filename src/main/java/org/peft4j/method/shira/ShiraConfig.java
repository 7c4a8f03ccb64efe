package org.peft4j.method.shira;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of SHiRA: {@code y = (W + S) x} with a sparse S, whose r (in + out) elements have random places that do not change.
 * They begin with zeros, so a new adapter changes nothing.
 *
 * @param r a layer gets r (in + out) elements, as many as LoRA of rank r has; not more than the weight has
 * @param randomSeed of the places, which PEFT draws by the same generator: layers of one shape have the same; null: torch's own
 *     seed of a new generator
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2406.13175">Sparse High Rank Adapters</a>
 */
public record ShiraConfig(int r, @Nullable Long randomSeed, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public ShiraConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 32, torch's seed, the model's usual targets. */
    public static ShiraConfig defaults() {
        return new ShiraConfig(32, null, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another number of elements. */
    public ShiraConfig withR(int value) {
        return new ShiraConfig(value, randomSeed, layers, modulesToSave);
    }

    @Override
    public ShiraConfig withLayers(TargetLayers value) {
        return new ShiraConfig(r, randomSeed, value, modulesToSave);
    }

    @Override
    public ShiraConfig withModulesToSave(List<String> modules) {
        return new ShiraConfig(r, randomSeed, layers, modules);
    }
}
