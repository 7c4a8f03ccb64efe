package org.peft4j.method.hira;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of HiRA: {@code y = W x + (W ∘ (B A)) x}. The frozen weight is multiplied element by element, so the update has as high
 * a rank as the weight with LoRA's number of parameters. It has to be made as a whole: a step costs another product as large as
 * the layer's own.
 *
 * @param r rank, the inner dimension of B A
 * @param dropout probability of dropping an input of the update while training, 0 to below 1
 * @param init how A begins
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://openreview.net/forum?id=TwJrTz9cRS">HiRA: Parameter-Efficient Hadamard High-Rank Adaptation for Large
 *     Language Models</a>
 */
public record HiraConfig(int r, double dropout, InitHira init, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public HiraConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 32, no dropout, the model's usual targets. */
    public static HiraConfig defaults() {
        return new HiraConfig(32, 0, InitHira.KAIMING, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another rank. */
    public HiraConfig withR(int value) {
        return new HiraConfig(value, dropout, init, layers, modulesToSave);
    }

    @Override
    public HiraConfig withLayers(TargetLayers value) {
        return new HiraConfig(r, dropout, init, value, modulesToSave);
    }

    @Override
    public HiraConfig withModulesToSave(List<String> modules) {
        return new HiraConfig(r, dropout, init, layers, modules);
    }
}
