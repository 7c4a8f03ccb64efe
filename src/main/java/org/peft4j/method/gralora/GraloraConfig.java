package org.peft4j.method.gralora;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of GraLoRA: {@code y = W x + b + s ΔW dropout(x)}, where ΔW consists of blocks, each with a low-rank product of its own.
 * A new adapter's B is zero.
 *
 * @param ranks ranks and number of blocks
 * @param alpha {@code s = alpha / (r + hybridR)}
 * @param dropout probability of dropping an input of ΔW while training, 0 to below 1
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2505.20355">GraLoRA: Granular Low-Rank Adaptation for Parameter-Efficient Fine-Tuning</a>
 */
public record GraloraConfig(
        GraloraRanks ranks, double alpha, double dropout, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public GraloraConfig {
        if (!(alpha > 0 && alpha <= Float.MAX_VALUE)) { // also refuses NaN
            throw new IllegalArgumentException("alpha must be a positive number that float32 holds, got " + alpha);
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 32, alpha 64, two times two blocks, the model's usual targets. */
    public static GraloraConfig defaults() {
        return new GraloraConfig(GraloraRanks.defaults(), 64, 0, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with other ranks. */
    public GraloraConfig withRanks(GraloraRanks value) {
        return new GraloraConfig(value, alpha, dropout, layers, modulesToSave);
    }

    @Override
    public GraloraConfig withLayers(TargetLayers value) {
        return new GraloraConfig(ranks, alpha, dropout, value, modulesToSave);
    }

    @Override
    public GraloraConfig withModulesToSave(List<String> modules) {
        return new GraloraConfig(ranks, alpha, dropout, layers, modules);
    }
}
