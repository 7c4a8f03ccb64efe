package org.peft4j.method.spi;

import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Projection;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;

/** What the configs of methods of linear layers have in common in Hugging Face PEFT's files. */
public final class LinearKeys {
    /** The table of all such methods; each adds its own rows, of {@link #EXCLUDED} and {@link #NUMBERS} those that PEFT has for it. */
    public static final ConfigKeys COMMON = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed("target_modules")
            .build();

    /** Modules that are left out. */
    public static final String EXCLUDED = "exclude_modules";

    /** The layers by number. */
    public static final String[] NUMBERS = {"layers_to_transform", "layers_pattern"};

    private LinearKeys() {}

    /** The layers that a file's config names. */
    public static TargetLayers layers(PeftConfigReader config) throws MalformedFileException {
        @Nullable Targets targets = config.targets("target_modules");
        boolean named = config.get("layers_to_transform") == null
                || !config.counts("layers_to_transform").isEmpty(); // PEFT looks at the names only where layers are given
        return new TargetLayers(
                targets == null ? Targets.modelDefault() : targets,
                config.targets("exclude_modules"),
                config.counts("layers_to_transform"),
                named
                        ? config.texts("layers_pattern").stream()
                                .filter(name -> !name.isEmpty())
                                .toList()
                        : java.util.List.of());
    }

    /** How random matrices are drawn, and whether the file has them. */
    public static Projection projection(PeftConfigReader config) throws MalformedFileException {
        return new Projection(config.count("projection_prng_key", 0), config.flag("save_projection", true));
    }
}
