package org.peft4j.run.files;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.DataConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.data.Labels;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AtomicFileSets;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Json;
import org.peft4j.io.NearestName;

/**
 * {@code peft4j.json} beside an adapter: what is needed to use it and what PEFT's files do not say. The settings are
 * defaults, the caller's override them. We are its only writer and reader, so an unknown key is refused.
 *
 * @param labels names of the classes, in the order of the logits
 * @param maxLength most tokens of a text, special tokens included
 * @param text column of the text
 * @param label column of the label
 * @param baseHash {@link org.peft4j.io.BaseHash} of the model that it was trained on; null in files of earlier versions
 */
public record AdapterSettings(
        List<String> labels,
        int maxLength,
        String text,
        String label,
        @Nullable String baseHash) {
    public static final String FILE = "peft4j.json";

    private static final Set<String> KEYS = Set.of("task", "labels", "max_length", "text", "label", "base_sha256");

    public AdapterSettings {
        labels = List.copyOf(labels);
    }

    public void write(Path adapter) throws IOException {
        Map<String, @Nullable Object> map = new LinkedHashMap<>();
        map.put("task", SequenceClassificationConfig.TYPE);
        map.put("labels", labels);
        map.put("max_length", maxLength);
        map.put("text", text);
        map.put("label", label);
        if (baseHash != null) {
            map.put("base_sha256", baseHash);
        }
        AtomicFiles.writeString(adapter.resolve(FILE), Json.write(map));
    }

    public static Optional<AdapterSettings> read(Path adapter) throws IOException {
        Path file = AtomicFileSets.current(adapter).resolve(FILE);
        if (!Files.exists(file)) {
            return Optional.empty();
        }
        Map<String, @Nullable Object> map = Json.readObject(file);
        for (String key : map.keySet()) {
            if (!KEYS.contains(key)) {
                throw wrong(
                        file,
                        "unknown key '" + key + "'" + NearestName.hint(key, KEYS)
                                + "; is it written by a newer peft4j?");
            }
        }
        Object task = map.getOrDefault("task", SequenceClassificationConfig.TYPE);
        if (!SequenceClassificationConfig.TYPE.equals(task)) {
            throw wrong(file, "task must be " + SequenceClassificationConfig.TYPE + ", got " + task);
        }
        return Optional.of(new AdapterSettings(
                labels(file, map.get("labels")),
                maxLength(file, map.get("max_length")),
                column(file, map, "text", DataConfig.TEXT),
                column(file, map, "label", DataConfig.LABEL),
                hash(file, map.get("base_sha256"))));
    }

    private static List<String> labels(Path file, @Nullable Object value) {
        List<String> labels = new ArrayList<>();
        if (value instanceof List<?> list) {
            for (Object item : list) {
                if (!(item instanceof String || item instanceof Integer)) {
                    throw wrong(file, "labels must be a list of names, got " + item + " in it");
                }
                labels.add(String.valueOf(item));
            }
        }
        try {
            return Labels.of(labels).names();
        } catch (ConfigException e) {
            throw wrong(file, e.getMessage() + (value instanceof List ? "" : " (" + value + ")"));
        }
    }

    private static int maxLength(Path file, @Nullable Object value) {
        if (!(value instanceof Integer length) || length < 1 || length > 1 << 24) {
            throw wrong(file, "max_length must be a whole number from 1 to " + (1 << 24) + ", got " + value);
        }
        return length;
    }

    private static String column(Path file, Map<String, @Nullable Object> map, String key, String fallback) {
        Object value = map.getOrDefault(key, fallback);
        if (!(value instanceof String name) || name.isEmpty()) {
            throw wrong(file, key + " must be the name of a column, got " + value);
        }
        return name;
    }

    private static @Nullable String hash(Path file, @Nullable Object value) {
        if (value != null && !(value instanceof String text && text.matches("[0-9a-f]{64}"))) {
            throw wrong(file, "base_sha256 must be 64 hexadecimal digits, got " + value);
        }
        return (String) value;
    }

    private static MalformedFileException wrong(Path file, String reason) {
        return new MalformedFileException(file, -1, reason);
    }

    /** A sentence for the user where the adapter was trained on another model than the one with this hash. */
    public Optional<String> otherBase(String hash) {
        return baseHash == null || baseHash.equals(hash)
                ? Optional.empty()
                : Optional.of("the adapter was trained on another base model than this one (its " + FILE
                        + " has the hash " + baseHash.substring(0, 12) + "…, this model has " + hash.substring(0, 12)
                        + "…): what it gives here may mean nothing");
    }
}
