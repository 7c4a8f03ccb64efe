package org.peft4j.method.spi.iapt;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.InitRational;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.iapt.InitPrompt;
import org.peft4j.method.iapt.PromptInsertion;
import org.peft4j.method.iapt.PromptPositions;
import org.peft4j.method.iapt.RationalVersion;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;

/** The config of IAPT's files, for which there is no standard. */
final class IaptFiles {
    static final ConfigKeys KEYS = ConfigKeys.of("peft4j")
            .all(PeftKeys.COMMON)
            .obeyed(
                    "num_virtual_tokens",
                    "bottleneck_size",
                    "share_group",
                    "rational_version",
                    "rational_degrees",
                    "rational_init",
                    "prompt_positions",
                    "prompt_insertion",
                    "prompt_init",
                    "bilevel",
                    "bilevel_share")
            .build();

    private static final double HALF = 0.5;

    private IaptFiles() {}

    static IaptConfig read(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new IaptConfig(
                    config.count("num_virtual_tokens", 0),
                    config.count("bottleneck_size", 0),
                    config.count("share_group", 0),
                    word(config, "rational_version", RationalVersion.values()),
                    config.counts("rational_degrees"),
                    word(config, "rational_init", InitRational.values()),
                    word(config, "prompt_positions", PromptPositions.values()),
                    word(config, "prompt_insertion", PromptInsertion.values()),
                    word(config, "prompt_init", InitPrompt.values()),
                    config.flag("bilevel"),
                    config.number("bilevel_share", HALF),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static <E extends Enum<E>> E word(PeftConfigReader config, String key, E[] values)
            throws MalformedFileException {
        String text = config.text(key);
        for (E value : values) {
            if (word(value).equals(text)) {
                return value;
            }
        }
        throw config.wrong(
                key,
                "must be one of " + Arrays.stream(values).map(IaptFiles::word).toList(),
                text);
    }

    private static String word(Enum<?> value) {
        return value instanceof RationalVersion ? value.name() : value.name().toLowerCase(Locale.ROOT);
    }

    static Map<String, Object> write(IaptConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bilevel", config.bilevel());
        if (config.bilevel()) {
            file.put("bilevel_share", config.bilevelShare());
        }
        file.put("bottleneck_size", config.bottleneckSize());
        file.put("num_virtual_tokens", config.virtualTokens());
        file.put("prompt_insertion", word(config.promptInsertion()));
        file.put("prompt_positions", word(config.promptPositions()));
        file.put("prompt_init", word(config.promptInit()));
        file.put("rational_degrees", List.copyOf(config.rationalDegrees()));
        file.put("rational_init", word(config.rationalInit()));
        file.put("rational_version", word(config.rationalVersion()));
        file.put("share_group", config.shareGroup());
        return file;
    }
}
