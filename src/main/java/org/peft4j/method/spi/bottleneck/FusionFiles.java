package org.peft4j.method.spi.bottleneck;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;

/**
 * The config of fusions' files: settings by the names that AdapterHub's library has for them, the experts as X-LoRA's files have them (in
 * folders 0, 1, … of the directory), and their names in that order.
 */
final class FusionFiles {
    private static final String NAMES = "adapter_names";

    static final ConfigKeys KEYS = ConfigKeys.of("peft4j")
            .all(PeftKeys.COMMON)
            .obeyed(AdapterFiles.INSIDE, NAMES, "value", "regularization", "query_before_ln", "dropout")
            .only("query", List.of(true), "the query would be the row itself")
            .only("key", List.of(true), "the keys would be what the experts add")
            .unset("experts' residual would be added before the attention", "residual_before")
            .unset("scores would be divided by a number that shrinks with each call", "temperature")
            .harmless("W_v of a sum is the sum of W_v of each", "value_before_softmax")
            .harmless("says how W_v began", "value_initialized")
            .build();

    private FusionFiles() {}

    static FusionConfig read(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        boolean value = config.flag("value", true);
        try {
            return FusionConfig.builder()
                    .adapters(directories(named(file)))
                    .value(value)
                    .regularization(config.flag("regularization", value))
                    .queryBeforeLn(config.flag("query_before_ln"))
                    .dropout(config.number("dropout", 0))
                    .modulesToSave(config.texts("modules_to_save"))
                    .build();
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static Map<String, Path> directories(Map<String, AdapterFile> named) {
        Map<String, Path> directories = new LinkedHashMap<>();
        named.forEach((name, expert) -> directories.put(name, expert.directory()));
        return directories;
    }

    /** The experts of a fusion's file, by their names, in the order of the attention. */
    static Map<String, AdapterFile> named(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        if (file.inside().isEmpty()) {
            throw config.wrong(
                    AdapterFiles.INSIDE,
                    "must name the places of the experts \"0\", \"1\", …",
                    config.get(AdapterFiles.INSIDE));
        }
        List<String> names = config.texts(NAMES); // without doubles
        if (names.size() != file.inside().size()) {
            throw config.wrong(
                    NAMES,
                    "must have a name of its own for each of the "
                            + file.inside().size() + " experts",
                    config.get(NAMES));
        }
        Map<String, AdapterFile> named = new LinkedHashMap<>();
        for (int i = 0; i < names.size(); i++) {
            named.put(names.get(i), file.inside().get(i));
        }
        return named;
    }

    static Map<String, Object> write(FusionConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        Map<String, String> inside = new LinkedHashMap<>();
        for (int i = 0; i < config.adapters().size(); i++) {
            inside.put(String.valueOf(i), String.valueOf(i)); // folders of the adapter's directory
        }
        file.put(AdapterFiles.INSIDE, inside);
        file.put(NAMES, List.copyOf(config.adapters().keySet()));
        file.put("dropout", config.dropout());
        file.put("query_before_ln", config.queryBeforeLn());
        file.put("regularization", config.regularization());
        file.put("value", config.value());
        return file;
    }
}
