package org.peft4j.method.vera;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.Projection;
import org.peft4j.method.TargetLayers;

/**
 * Settings of VeRA: {@code y = W x + b ∘ (B (d ∘ (A x)))}. A and B are random, frozen, and shared by all layers; trained are the
 * vectors d, which begins as a number, and b, which begins as zeros, so a new adapter changes nothing.
 *
 * @param r rank of A and B; as they are not trained, a large one costs time and not parameters
 * @param projection how A and B are drawn, and whether they are saved
 * @param dropout probability of dropping an input of A while training, 0 to below 1
 * @param dInitial first value of d
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2310.11454">VeRA: Vector-based Random Matrix Adaptation</a>
 */
public record VeraConfig(
        int r, Projection projection, double dropout, double dInitial, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public VeraConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        if (!(Math.abs(dInitial) <= Float.MAX_VALUE)) {
            throw new IllegalArgumentException("dInitial must be a number that float32 holds, got " + dInitial);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 256, d from 0.1, the model's usual targets. */
    public static VeraConfig defaults() {
        return new VeraConfig(256, Projection.defaults(), 0, 0.1, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another rank. */
    public VeraConfig withR(int value) {
        return new VeraConfig(value, projection, dropout, dInitial, layers, modulesToSave);
    }

    @Override
    public VeraConfig withLayers(TargetLayers value) {
        return new VeraConfig(r, projection, dropout, dInitial, value, modulesToSave);
    }

    @Override
    public VeraConfig withModulesToSave(List<String> modules) {
        return new VeraConfig(r, projection, dropout, dInitial, layers, modules);
    }
}
