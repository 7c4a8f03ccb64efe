package org.peft4j.method.loha;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.Ranks;
import org.peft4j.method.TargetLayers;

/**
 * Settings of LoHa: {@code y = W x + (alpha / r) ((A₁ B₁) ∘ (A₂ B₂)) x}, whose update has a rank of up to r² with the parameters of
 * two of rank r. One of the four matrices begins with zeros, so a new adapter changes nothing.
 *
 * @param ranks r and alpha, and others of some layers
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2108.06098">FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated
 *     Learning</a>
 */
public record LoHaConfig(Ranks ranks, TargetLayers layers, List<String> modulesToSave) implements LinearMethodConfig {
    public LoHaConfig {
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 8, alpha 8, the model's usual targets. */
    public static LoHaConfig defaults() {
        return new LoHaConfig(Ranks.of(8, 8), TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with other ranks. */
    public LoHaConfig withRanks(Ranks value) {
        return new LoHaConfig(value, layers, modulesToSave);
    }

    @Override
    public LoHaConfig withLayers(TargetLayers value) {
        return new LoHaConfig(ranks, value, modulesToSave);
    }

    @Override
    public LoHaConfig withModulesToSave(List<String> modules) {
        return new LoHaConfig(ranks, layers, modules);
    }
}
