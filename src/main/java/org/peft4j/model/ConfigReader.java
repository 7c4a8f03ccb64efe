package org.peft4j.model;

import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;

/** Reads settings of a model's config.json with bounds, so that no shape made from them is absurd. */
public final class ConfigReader {
    private final ModelDirectory directory;
    private final Map<String, @Nullable Object> config;

    public ConfigReader(ModelDirectory directory) {
        this.directory = directory;
        config = directory.config();
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

    public MalformedFileException wrong(String key, String expected, @Nullable Object value) {
        return new MalformedFileException(
                directory.configFile(), -1, key + " " + expected + ", got " + Json.shown(value));
    }
}
