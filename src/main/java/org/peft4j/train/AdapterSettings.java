package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Json;

/**
 * {@code peft4j.json} beside an adapter: what is needed to use it and what PEFT's files do not say. The settings are
 * defaults, the command line overrides them.
 *
 * @param labels names of the classes, in the order of the logits
 * @param maxLength most tokens of a text, special tokens included
 * @param text column of the text
 * @param label column of the label
 */
record AdapterSettings(List<String> labels, int maxLength, String text, String label) {
    static final String FILE = "peft4j.json";

    void write(Path adapter) throws IOException {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("task", "sequence-classification");
        map.put("labels", labels);
        map.put("max_length", maxLength);
        map.put("text", text);
        map.put("label", label);
        AtomicFiles.writeString(adapter.resolve(FILE), Json.write(map));
    }

    static Optional<AdapterSettings> read(Path adapter) throws IOException {
        Path file = adapter.resolve(FILE);
        if (!Files.exists(file)) {
            return Optional.empty();
        }
        Map<String, @Nullable Object> map = Json.readObject(file);
        List<String> labels = new ArrayList<>();
        if (!(map.get("labels") instanceof List<?> list) || list.size() < 2) {
            throw new MalformedFileException(file, -1, "labels must be a list of names, got " + map.get("labels"));
        }
        list.forEach(label -> labels.add(String.valueOf(label)));
        if (!(map.get("max_length") instanceof Number length)
                || length.longValue() < 1
                || length.longValue() > 1 << 24) {
            throw new MalformedFileException(
                    file, -1, "max_length must be a positive whole number, got " + map.get("max_length"));
        }
        return Optional.of(new AdapterSettings(
                labels,
                length.intValue(),
                String.valueOf(map.getOrDefault("text", DataConfig.TEXT)),
                String.valueOf(map.getOrDefault("label", DataConfig.LABEL))));
    }
}
