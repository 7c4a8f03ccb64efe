package org.peft4j.method.hra;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of HRA: {@code y = W H₁ H₂ … H_r x + b}, where H_i mirrors x at the plane that is orthogonal to a trained vector u_i. A
 * new adapter's vectors are equal in pairs, which cancel; with {@code applyGs}, where the vectors are made orthogonal first, they
 * cannot cancel, so that a new adapter changes what the model computes.
 *
 * @param r number of vectors; even, unless {@code applyGs}, so that a new adapter changes nothing
 * @param applyGs whether the vectors are made orthogonal by Gram and Schmidt's method
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2405.17484">Bridging The Gap between Low-rank and Orthogonal Adaptation via Householder
 *     Reflection Adaptation</a>
 */
public record HraConfig(int r, boolean applyGs, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public HraConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 8, the vectors as they are, the model's usual targets. */
    public static HraConfig defaults() {
        return new HraConfig(8, false, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another number of vectors. */
    public HraConfig withR(int value) {
        return new HraConfig(value, applyGs, layers, modulesToSave);
    }

    /** The same settings with vectors that are made orthogonal, or not. */
    public HraConfig withApplyGs(boolean value) {
        return new HraConfig(r, value, layers, modulesToSave);
    }

    @Override
    public HraConfig withLayers(TargetLayers value) {
        return new HraConfig(r, applyGs, value, modulesToSave);
    }

    @Override
    public HraConfig withModulesToSave(List<String> modules) {
        return new HraConfig(r, applyGs, layers, modules);
    }
}
