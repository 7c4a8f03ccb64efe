package org.peft4j.method.lntuning;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.Targets;

/**
 * Settings of LN tuning: norms are trained as a whole, everything else is frozen. A new adapter begins with the model's values.
 *
 * @param targets the norms: names or ends of their paths, or a regular expression; other modules may be named as well
 * @param excludeModules modules that stay frozen, whatever the targets say: names, suffixes or a regular expression; null: none
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2312.11420">Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning</a>
 */
public record LnTuningConfig(Targets targets, @Nullable Targets excludeModules, List<String> modulesToSave)
        implements MethodConfig {
    public LnTuningConfig {
        if (targets instanceof Targets.AllLinear) {
            throw new IllegalArgumentException(
                    "targets must name norms, such as [input_layernorm, norm], got '" + targets.toTree() + "'");
        }
        if (excludeModules != null
                && !(excludeModules instanceof Targets.Names || excludeModules instanceof Targets.Regex)) {
            throw new IllegalArgumentException("excludeModules must be a list of names or a regular expression, got '"
                    + excludeModules.toTree() + "'");
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** The model's usual norms. */
    public static LnTuningConfig defaults() {
        return new LnTuningConfig(Targets.modelDefault(), null, List.of());
    }

    /** The same settings of other norms. */
    public LnTuningConfig withTargets(Targets value) {
        return new LnTuningConfig(value, excludeModules, modulesToSave);
    }

    @Override
    public LnTuningConfig withModulesToSave(List<String> modules) {
        return new LnTuningConfig(targets, excludeModules, modules);
    }
}
