package org.peft4j.method.lora;

import java.util.Optional;
import org.peft4j.method.Targets;
import org.peft4j.method.UsualTargets;

/** The modules that Hugging Face PEFT adapts with LoRA where nothing is said, by the model's {@code model_type}. */
public final class LoraTargets {
    private LoraTargets() {}

    /** The usual targets of a model type, empty if there are none. */
    public static Optional<Targets> usual(String modelType) {
        return UsualTargets.of(modelType);
    }

    /**
     * The settings with targets that can be matched: the given ones, or the model's usual ones.
     *
     * @throws IllegalArgumentException if none are given and the model type has none
     */
    public static LoraConfig resolve(LoraConfig config, String modelType) {
        return config.targets() instanceof Targets.ModelDefault
                ? config.toBuilder()
                        .targets(UsualTargets.resolve(config.targets(), modelType))
                        .build()
                : config;
    }
}
