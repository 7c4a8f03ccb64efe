package org.peft4j.method.boft;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of BOFT: {@code y = s ∘ (W (x R)) + b}, where R is a product of rotations of blocks of x's features, between which the
 * features change places as in a butterfly. A new adapter's R is the identity, and its s is 1.
 *
 * @param blocks the blocks, and how many rotations
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2311.06243">Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization</a>
 */
public record BoftConfig(BoftBlocks blocks, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public BoftConfig {
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: blocks of 4 features, one rotation, the model's usual targets. */
    public static BoftConfig defaults() {
        return new BoftConfig(BoftBlocks.defaults(), TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with other blocks. */
    public BoftConfig withBlocks(BoftBlocks value) {
        return new BoftConfig(value, layers, modulesToSave);
    }

    @Override
    public BoftConfig withLayers(TargetLayers value) {
        return new BoftConfig(blocks, value, modulesToSave);
    }

    @Override
    public BoftConfig withModulesToSave(List<String> modules) {
        return new BoftConfig(blocks, layers, modules);
    }
}
