package org.peft4j.method.ia3;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.Targets;

/**
 * Settings of (IA)³: {@code y = l ∘ (W x + b)} at linear layers, {@code y = W (l ∘ x) + b} at those of the MLP's end. All factors
 * are 1 at the start, so a new adapter changes nothing until it is trained.
 *
 * @param targets layers to scale: a list of names or suffixes, "all-linear", or a regular expression
 * @param feedforward those of the targets whose input is scaled: names that a path ends with, or a regular expression; null:
 *     none
 * @param excludeModules modules that are not scaled, whatever the targets say: names, suffixes or a regular expression;
 *     null: none
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2205.05638">Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than
 *     In-Context Learning</a>
 */
public record Ia3Config(
        Targets targets,
        @Nullable Targets feedforward,
        @Nullable Targets excludeModules,
        List<String> modulesToSave) implements MethodConfig {
    public Ia3Config {
        if (feedforward instanceof Targets.AllLinear) {
            throw new IllegalArgumentException(
                    "feedforward must be a list of names or a regular expression, got 'all-linear'");
        }
        if (excludeModules != null
                && !(excludeModules instanceof Targets.Names || excludeModules instanceof Targets.Regex)) {
            throw new IllegalArgumentException("excludeModules must be a list of names or a regular expression, got '"
                    + excludeModules.toTree() + "'");
        }
        if (targets instanceof Targets.Names all
                && feedforward instanceof Targets.Names some
                && !all.names().containsAll(some.names())) {
            throw new IllegalArgumentException(
                    "feedforward must only have names that targets have, " + all.names() + ", got " + some.names());
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** The model's usual targets. */
    public static Ia3Config defaults() {
        return new Ia3Config(Targets.modelDefault(), Targets.modelDefault(), null, List.of());
    }

    @Override
    public Ia3Config withModulesToSave(List<String> modules) {
        return new Ia3Config(targets, feedforward, excludeModules, modules);
    }
}
