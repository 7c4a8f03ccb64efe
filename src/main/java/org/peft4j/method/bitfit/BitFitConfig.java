package org.peft4j.method.bitfit;

import java.util.List;
import org.peft4j.method.MethodConfig;

/**
 * Settings of BitFit: the biases of linear layers and norms are trained, everything else is frozen.
 *
 * @param terms whose biases: names of modules or ends of their paths, such as {@code query} or {@code intermediate.dense}; all
 *     for every bias but the head's
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2106.10199">BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based
 *     Masked Language-models</a>
 */
public record BitFitConfig(List<String> terms, List<String> modulesToSave) implements MethodConfig {
    /** The term that means every bias. */
    public static final String ALL = "all";

    public BitFitConfig {
        terms = terms.stream().distinct().sorted().toList(); // same file for the same settings
        if (terms.isEmpty() || terms.contains("")) {
            throw new IllegalArgumentException("terms must be [all] or name modules, such as [query], got " + terms);
        }
        if (terms.contains(ALL) && terms.size() > 1) {
            throw new IllegalArgumentException("terms must be [all] alone or names without it, got " + terms);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** Every bias. */
    public static BitFitConfig defaults() {
        return new BitFitConfig(List.of(ALL), List.of());
    }

    @Override
    public BitFitConfig withModulesToSave(List<String> modules) {
        return new BitFitConfig(terms, modules);
    }
}
