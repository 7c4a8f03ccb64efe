package org.peft4j.method.spi.ia3;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Targets;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;

/** The config of (IA)³ as Hugging Face PEFT 0.21 writes it. */
final class Ia3Files {
    /** What each key means. */
    static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed("target_modules", "feedforward_modules", "exclude_modules")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .harmless("how the factors began, which the file's tensors replace", "init_ia3_weights")
            .build();

    private Ia3Files() {}

    static Ia3Config read(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            Targets targets = config.targets("target_modules");
            Object feedforward = config.get("feedforward_modules");
            return new Ia3Config(
                    targets == null ? Targets.modelDefault() : targets,
                    feedforward == null ? Targets.modelDefault() : config.targets("feedforward_modules"),
                    config.targets("exclude_modules"),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    /** @param config whose targets are resolved */
    static Map<String, Object> write(Ia3Config config) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        file.put("exclude_modules", tree(config.excludeModules()));
        file.put("fan_in_fan_out", false);
        file.put("feedforward_modules", config.feedforward() == null ? List.of() : tree(config.feedforward()));
        file.put("init_ia3_weights", true);
        file.put("target_modules", config.targets().toTree());
        return file;
    }

    private static @Nullable Object tree(@Nullable Targets targets) {
        return targets == null ? null : targets.toTree();
    }
}
