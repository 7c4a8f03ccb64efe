package org.peft4j.method.miss;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of MiSS, which was called Bone: {@code y = W x + b + B (sum of x's blocks of r inputs)}. A new adapter's B is zero.
 *
 * @param r inputs in a block; at most a layer's inputs, and for {@link MissVariant#BAT} a divisor of its inputs and outputs
 * @param miniR columns of {@link MissVariant#MINI}'s B; they have to divide a layer's outputs
 * @param variant what is trained
 * @param dropout probability of dropping an input of B while training, 0 to below 1; {@link MissVariant#BAT} has none
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2409.15371">MiSS: Revisiting the Trade-off in LoRA with an Efficient Shard-Sharing
 *     Structure</a>
 */
public record MissConfig(
        int r, int miniR, MissVariant variant, double dropout, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public MissConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        if (miniR < 1) {
            throw new IllegalArgumentException("miniR must be at least 1, got " + miniR);
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 64, the model's usual targets. */
    public static MissConfig defaults() {
        return new MissConfig(64, 1, MissVariant.PLAIN, 0, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another r. */
    public MissConfig withR(int value) {
        return new MissConfig(value, miniR, variant, dropout, layers, modulesToSave);
    }

    /** The same settings of another variant. */
    public MissConfig withVariant(MissVariant value, int columns) {
        return new MissConfig(r, columns, value, dropout, layers, modulesToSave);
    }

    @Override
    public MissConfig withLayers(TargetLayers value) {
        return new MissConfig(r, miniR, variant, dropout, value, modulesToSave);
    }

    @Override
    public MissConfig withModulesToSave(List<String> modules) {
        return new MissConfig(r, miniR, variant, dropout, layers, modules);
    }
}
