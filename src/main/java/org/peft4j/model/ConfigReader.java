package org.peft4j.model;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;

/** Reads settings of a model's config.json with bounds, so that no shape made from them is absurd. */
public final class ConfigReader {
    private final Path file;
    private final String within;
    private final Map<String, ? extends @Nullable Object> config;

    public ConfigReader(ModelDirectory directory) {
        this(directory.configFile(), "", directory.config());
    }

    /** @param config what the file has in it */
    public ConfigReader(Path file, Map<String, ? extends @Nullable Object> config) {
        this(file, "", config);
    }

    private ConfigReader(Path file, String within, Map<String, ? extends @Nullable Object> config) {
        this.file = file;
        this.within = within;
        this.config = config;
    }

    /** The value as it is; null where the key is missing. */
    public @Nullable Object get(String key) {
        return config.get(key);
    }

    /** A reader of the settings under a key; empty where the key is missing or null. */
    public Optional<ConfigReader> inner(String key) throws MalformedFileException {
        Object value = config.get(key);
        if (value == null) {
            return Optional.empty();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw wrong(key, "must be an object with settings", value);
        }
        Map<String, @Nullable Object> settings = new LinkedHashMap<>();
        map.forEach((name, setting) -> settings.put(String.valueOf(name), setting));
        return Optional.of(new ConfigReader(file, within + key + ".", settings));
    }

    /** Keys that are there. */
    public Set<String> keys() {
        return config.keySet();
    }

    /** A whole number from 1 to most; fallback where the key is missing or null. */
    public int count(String key, int fallback, int most) throws MalformedFileException {
        Object value = config.get(key);
        if (value == null && fallback > 0) {
            return fallback;
        }
        if (!(value instanceof Number number)
                || number.doubleValue() != Math.rint(number.doubleValue())
                || number.doubleValue() < 1
                || number.doubleValue() > most) {
            throw wrong(key, "must be a whole number from 1 to " + most, value);
        }
        return number.intValue();
    }

    /** A number in [least, below). */
    public double number(String key, double fallback, double least, double below) throws MalformedFileException {
        Object value = config.get(key);
        if (value == null) {
            return fallback;
        }
        if (!(value instanceof Number number) || !(number.doubleValue() >= least && number.doubleValue() < below)) {
            throw wrong(key, "must be a number in [" + least + ", " + below + ")", value);
        }
        return number.doubleValue();
    }

    /** True or false; fallback where the key is missing or null. */
    public boolean flag(String key, boolean fallback) throws MalformedFileException {
        Object value = config.get(key);
        if (value == null) {
            return fallback;
        }
        if (!(value instanceof Boolean flag)) {
            throw wrong(key, "must be true or false", value);
        }
        return flag;
    }

    /** One of these words; the first where the key is missing or null. */
    public String word(String key, List<String> words) throws MalformedFileException {
        Object value = config.get(key);
        if (value == null) {
            return words.get(0);
        }
        if (!(value instanceof String word) || !words.contains(word)) {
            throw wrong(key, "must be one of " + words, value);
        }
        return word;
    }

    public MalformedFileException wrong(String key, String expected, @Nullable Object value) {
        return new MalformedFileException(file, -1, within + key + " " + expected + ", got " + Json.shown(value));
    }
}
