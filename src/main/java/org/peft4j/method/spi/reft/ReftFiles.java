package org.peft4j.method.spi.reft;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.reft.ReftConfig.NonLinearity;
import org.peft4j.method.reft.ReftLayers;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;

/** The config of ReFT's files: settings by the names that AdapterHub's library has for them. What is missing is as in {@code loreft}. */
final class ReftFiles {
    static final ConfigKeys KEYS = ConfigKeys.of("peft4j")
            .all(PeftKeys.COMMON)
            .obeyed("r", "prefix_positions", "suffix_positions", "tied_weights")
            .obeyed("orthogonality", "subtract_projection", "non_linearity", "dropout", "layers")
            .build();

    private ReftFiles() {}

    static ReftConfig read(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        ReftConfig usual = ReftConfig.defaults();
        try {
            return new ReftConfig(
                    config.count("r", usual.r()),
                    config.count("prefix_positions", usual.prefixPositions()),
                    config.count("suffix_positions", usual.suffixPositions()),
                    config.flag("tied_weights", usual.tiedWeights()),
                    config.flag("orthogonality", usual.orthogonality()),
                    config.flag("subtract_projection", usual.subtractProjection()),
                    nonLinearity(config),
                    config.number("dropout", usual.dropout()),
                    layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static NonLinearity nonLinearity(PeftConfigReader config) throws MalformedFileException {
        String text = config.text("non_linearity");
        for (NonLinearity value : NonLinearity.values()) {
            if (text == null ? value == NonLinearity.NONE : word(value).equals(text)) {
                return value;
            }
        }
        throw config.wrong(
                "non_linearity",
                "must be null, or one of "
                        + Arrays.stream(NonLinearity.values())
                                .map(ReftFiles::word)
                                .toList(),
                text);
    }

    private static ReftLayers layers(PeftConfigReader config) throws MalformedFileException {
        Object value = config.get("layers");
        return value == null
                ? ReftLayers.ALL
                : value instanceof String word ? ReftLayers.parse(word) : ReftLayers.of(config.counts("layers"));
    }

    private static String word(NonLinearity value) {
        return value.name().toLowerCase(Locale.ROOT);
    }

    static Map<String, Object> write(ReftConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("dropout", config.dropout());
        file.put("layers", config.layers().toTree());
        file.put("non_linearity", word(config.nonLinearity()));
        file.put("orthogonality", config.orthogonality());
        file.put("prefix_positions", config.prefixPositions());
        file.put("r", config.r());
        file.put("subtract_projection", config.subtractProjection());
        file.put("suffix_positions", config.suffixPositions());
        file.put("tied_weights", config.tiedWeights());
        return file;
    }
}
