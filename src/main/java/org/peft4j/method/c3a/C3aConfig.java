package org.peft4j.method.c3a;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of C³A: {@code y = (W + ΔW) x + b}, where ΔW consists of circulant blocks, each of which has its first row alone: the
 * kernel of a circular convolution.
 *
 * @param blocks sizes of the blocks
 * @param initWeights how kernels begin; all but zeros change what a new adapter's model computes
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2407.19342">Parameter-Efficient Fine-Tuning via Circular Convolution</a>
 */
public record C3aConfig(BlockSizes blocks, InitC3a initWeights, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public C3aConfig {
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: blocks of 256, Xavier's start, the model's usual targets. */
    public static C3aConfig defaults() {
        return new C3aConfig(BlockSizes.of(256), InitC3a.XAVIER_UNIFORM, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with other blocks. */
    public C3aConfig withBlocks(BlockSizes value) {
        return new C3aConfig(value, initWeights, layers, modulesToSave);
    }

    /** The same settings with another start. */
    public C3aConfig withInitWeights(InitC3a value) {
        return new C3aConfig(blocks, value, layers, modulesToSave);
    }

    @Override
    public C3aConfig withLayers(TargetLayers value) {
        return new C3aConfig(blocks, initWeights, value, modulesToSave);
    }

    @Override
    public C3aConfig withModulesToSave(List<String> modules) {
        return new C3aConfig(blocks, initWeights, layers, modules);
    }
}
