package org.peft4j.method.oft;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of OFT: {@code y = W (x R) + b}, where R turns blocks of x's features. A new adapter's R is the identity.
 *
 * @param blocks the blocks
 * @param cayley how R is made of what is trained
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2306.07280">Controlling Text-to-Image Diffusion by Orthogonal Finetuning</a>
 * @see <a href="https://arxiv.org/abs/2506.19847">Orthogonal Finetuning Made Scalable</a>
 */
public record OftConfig(OftBlocks blocks, Cayley cayley, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public OftConfig {
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: blocks of 32 features, five terms of the series, the model's usual targets. */
    public static OftConfig defaults() {
        return new OftConfig(OftBlocks.defaults(), Cayley.defaults(), TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with other blocks. */
    public OftConfig withBlocks(OftBlocks value) {
        return new OftConfig(value, cayley, layers, modulesToSave);
    }

    /** The same settings with rotations made otherwise. */
    public OftConfig withCayley(Cayley value) {
        return new OftConfig(blocks, value, layers, modulesToSave);
    }

    @Override
    public OftConfig withLayers(TargetLayers value) {
        return new OftConfig(blocks, cayley, value, modulesToSave);
    }

    @Override
    public OftConfig withModulesToSave(List<String> modules) {
        return new OftConfig(blocks, cayley, layers, modules);
    }
}
