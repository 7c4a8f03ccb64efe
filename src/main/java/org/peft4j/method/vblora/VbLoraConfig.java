package org.peft4j.method.vblora;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of VB-LoRA: {@code y = W x + B A x}, where each piece of A's rows and B's columns is a weighted mean of a few vectors of a
 * bank that all layers share. Trained are the bank and the logits by which each piece chooses. A new adapter changes a little.
 *
 * @param r rank, the inner dimension of B A
 * @param bank the vectors, and how pieces choose among them
 * @param dropout probability of dropping an input of A while training, 0 to below 1
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2405.15179">VB-LoRA: Extreme Parameter Efficient Fine-Tuning with Vector Banks</a>
 */
public record VbLoraConfig(int r, VectorBank bank, double dropout, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public VbLoraConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 4, 256 vectors of 256 elements, the model's usual targets. */
    public static VbLoraConfig defaults() {
        return new VbLoraConfig(4, VectorBank.defaults(), 0, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another bank. */
    public VbLoraConfig withBank(VectorBank value) {
        return new VbLoraConfig(r, value, dropout, layers, modulesToSave);
    }

    @Override
    public VbLoraConfig withLayers(TargetLayers value) {
        return new VbLoraConfig(r, bank, dropout, value, modulesToSave);
    }

    @Override
    public VbLoraConfig withModulesToSave(List<String> modules) {
        return new VbLoraConfig(r, bank, dropout, layers, modules);
    }
}
