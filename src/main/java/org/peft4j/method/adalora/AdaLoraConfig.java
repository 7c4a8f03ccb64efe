package org.peft4j.method.adalora;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of AdaLoRA: {@code y = W x + alpha / (init_r + 1e-5) B (E ∘ A) x}, where each layer begins with init_r triplets of a row
 * of A, an element of E and a column of B. While it trains, the triplets of all layers that are worth least are taken away by
 * setting their element of E to zero, until target_r are left for a layer on average; so ranks go where they are needed. E begins with
 * zeros, so a new adapter changes nothing.
 *
 * @param budget how many ranks there are, and when they are taken
 * @param alpha numerator of the scale
 * @param dropout probability of dropping an input of A while training, 0 to below 1
 * @param importance how a triplet's worth is measured
 * @param orthRegWeight weight of the penalty that keeps rows of A and columns of B orthonormal: the mean over all A and B of
 *     {@code ‖A Aᵀ - I‖} and {@code ‖Bᵀ B - I‖}; 0: none
 * @param rankPattern what training found, in files alone: for a layer's {@code lora_E}, by its path, whether each of the initial
 *     ranks is left
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2303.10512">AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning</a>
 */
public record AdaLoraConfig(
        RankBudget budget,
        double alpha,
        double dropout,
        RankImportance importance,
        double orthRegWeight,
        Map<String, List<Boolean>> rankPattern,
        TargetLayers layers,
        List<String> modulesToSave)
        implements LinearMethodConfig {
    public AdaLoraConfig {
        if (!(alpha > 0 && alpha <= Float.MAX_VALUE)) { // also refuses NaN
            throw new IllegalArgumentException("alpha must be a positive number that float32 holds, got " + alpha);
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("dropout must be in [0, 1), got " + dropout);
        }
        if (!(orthRegWeight >= 0 && orthRegWeight <= Float.MAX_VALUE)) {
            throw new IllegalArgumentException(
                    "orthRegWeight must be 0 or a positive number that float32 holds, got " + orthRegWeight);
        }
        Map<String, List<Boolean>> sorted = new TreeMap<>(rankPattern); // same file for the same settings
        sorted.replaceAll((name, kept) -> List.copyOf(kept));
        for (Map.Entry<String, List<Boolean>> one : sorted.entrySet()) {
            if (one.getValue().size() != budget.initR()) {
                throw new IllegalArgumentException("rankPattern must have init_r " + budget.initR()
                        + " elements for each layer, got " + one.getValue().size() + " for " + one.getKey());
            }
        }
        rankPattern = Collections.unmodifiableMap(sorted);
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: from rank 12 to 8, alpha 8, a penalty of weight 0.5, the model's usual targets. */
    public static AdaLoraConfig defaults() {
        return builder().build();
    }

    /** Settings that begin with PEFT's defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** The same settings with another budget. */
    public AdaLoraConfig withBudget(RankBudget value) {
        return new AdaLoraConfig(value, alpha, dropout, importance, orthRegWeight, rankPattern, layers, modulesToSave);
    }

    /** The same settings with the ranks that training found. */
    public AdaLoraConfig withRankPattern(Map<String, List<Boolean>> value) {
        return new AdaLoraConfig(budget, alpha, dropout, importance, orthRegWeight, value, layers, modulesToSave);
    }

    @Override
    public AdaLoraConfig withLayers(TargetLayers value) {
        return new AdaLoraConfig(budget, alpha, dropout, importance, orthRegWeight, rankPattern, value, modulesToSave);
    }

    @Override
    public AdaLoraConfig withModulesToSave(List<String> modules) {
        return new AdaLoraConfig(budget, alpha, dropout, importance, orthRegWeight, rankPattern, layers, modules);
    }

    /** Collects settings; checks come with {@link #build}. */
    public static final class Builder {
        private RankBudget budget = RankBudget.defaults();
        private RankImportance importance = RankImportance.defaults();
        private double alpha = 8;
        private double dropout;
        private double orthRegWeight = 0.5;
        private TargetLayers layers = TargetLayers.modelDefault();
        private List<String> modulesToSave = List.of();

        private Builder() {}

        /** How many ranks there are, and when they are taken. */
        public Builder budget(RankBudget value) {
            budget = value;
            return this;
        }

        /** How a triplet's worth is measured. */
        public Builder importance(RankImportance value) {
            importance = value;
            return this;
        }

        /** Numerator of the scale. */
        public Builder alpha(double value) {
            alpha = value;
            return this;
        }

        /** Probability of dropping an input of A while training. */
        public Builder dropout(double value) {
            dropout = value;
            return this;
        }

        /** Weight of the penalty that keeps A and B orthonormal. */
        public Builder orthRegWeight(double value) {
            orthRegWeight = value;
            return this;
        }

        /** Which layers are adapted. */
        public Builder layers(TargetLayers value) {
            layers = value;
            return this;
        }

        /** Modules to adapt, by names or ends of their paths. */
        public Builder targets(String... names) {
            return layers(TargetLayers.of(names));
        }

        /** Modules that are trained and saved as a whole. */
        public Builder modulesToSave(List<String> value) {
            modulesToSave = value;
            return this;
        }

        /** @throws IllegalArgumentException if a setting is wrong; the message begins with its name */
        public AdaLoraConfig build() {
            return new AdaLoraConfig(
                    budget, alpha, dropout, importance, orthRegWeight, Map.of(), layers, modulesToSave);
        }
    }
}
