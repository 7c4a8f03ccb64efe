package org.peft4j.method.randlora;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of RandLoRA: {@code y = W x + (alpha / r) Σ B_n Λ_n A Γ_n x}, a sum of as many products of rank r as give full rank. A
 * and the B_n are random, frozen, and shared by all layers; trained are the diagonal matrices Λ, which begin with zeros, and Γ.
 *
 * @param r rank of each product; more of it means fewer products, and fewer parameters
 * @param alpha numerator of the scale; PEFT's 640 is 20 times r
 * @param bases how A and B are drawn, and whether they are saved
 * @param dropout probability of dropping an input of the update while training, 0 to below 1
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2502.00987">RandLoRA: Full-rank parameter-efficient fine-tuning of large models</a>
 */
public record RandLoraConfig(
        int r, double alpha, Bases bases, double dropout, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public RandLoraConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        if (!(alpha > 0 && alpha <= Float.MAX_VALUE)) {
            throw new IllegalArgumentException("alpha must be a positive number that float32 holds, got " + alpha);
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 32, alpha 640, dense matrices that are saved, the model's usual targets. */
    public static RandLoraConfig defaults() {
        return new RandLoraConfig(32, 640, Bases.defaults(), 0, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another rank and alpha. */
    public RandLoraConfig withR(int rank, double numerator) {
        return new RandLoraConfig(rank, numerator, bases, dropout, layers, modulesToSave);
    }

    /** The same settings with other random matrices. */
    public RandLoraConfig withBases(Bases value) {
        return new RandLoraConfig(r, alpha, value, dropout, layers, modulesToSave);
    }

    @Override
    public RandLoraConfig withLayers(TargetLayers value) {
        return new RandLoraConfig(r, alpha, bases, dropout, value, modulesToSave);
    }

    @Override
    public RandLoraConfig withModulesToSave(List<String> modules) {
        return new RandLoraConfig(r, alpha, bases, dropout, layers, modules);
    }
}
