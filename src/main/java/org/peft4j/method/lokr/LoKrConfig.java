package org.peft4j.method.lokr;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.Ranks;
import org.peft4j.method.TargetLayers;

/**
 * Settings of LoKr: {@code y = W x + (alpha / r) (W₁ ⊗ W₂) x}, a Kronecker product of a small matrix and a larger one, which is
 * itself a product of rank r where that has fewer elements.
 *
 * @param ranks r and alpha, and others of some layers; a layer whose factors are whole is scaled by alpha / r, too, as PEFT does
 * @param decomposeBoth whether the small matrix may be a product of rank r, too
 * @param decomposeFactor rows and columns of the small matrix, where the layer's can be divided by it, else the largest number
 *     below that they can be divided by; -1: as near to their square root as can be
 * @param init which factor begins with zeros
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2309.14859">Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model
 *     Evaluation</a>
 */
public record LoKrConfig(
        Ranks ranks,
        boolean decomposeBoth,
        int decomposeFactor,
        InitLoKr init,
        TargetLayers layers,
        List<String> modulesToSave)
        implements LinearMethodConfig {
    public LoKrConfig {
        if (decomposeFactor < 1 && decomposeFactor != -1) {
            throw new IllegalArgumentException("decomposeFactor must be -1 or at least 1, got " + decomposeFactor);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 8, alpha 8, factors near the square root, the model's usual targets. */
    public static LoKrConfig defaults() {
        return new LoKrConfig(Ranks.of(8, 8), false, -1, InitLoKr.FIRST_ZERO, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with other ranks. */
    public LoKrConfig withRanks(Ranks value) {
        return new LoKrConfig(value, decomposeBoth, decomposeFactor, init, layers, modulesToSave);
    }

    @Override
    public LoKrConfig withLayers(TargetLayers value) {
        return new LoKrConfig(ranks, decomposeBoth, decomposeFactor, init, value, modulesToSave);
    }

    @Override
    public LoKrConfig withModulesToSave(List<String> modules) {
        return new LoKrConfig(ranks, decomposeBoth, decomposeFactor, init, layers, modules);
    }
}
