package org.peft4j.method;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;

/**
 * Typed access to {@code adapter_config.json}. Unknown keys are ignored, as the format asks of its readers; a known key
 * that asks for something we do not do is refused by name.
 */
public final class FileConfig {
    private final AdapterFile file;

    public FileConfig(AdapterFile file) {
        this.file = file;
    }

    public @Nullable Object get(String key) {
        return file.config().get(key);
    }

    public int count(String key, int fallback) throws MalformedFileException {
        Object value = get(key);
        if (value == null) {
            return fallback;
        }
        if (!(value instanceof Number n) || n.doubleValue() != Math.rint(n.doubleValue()) || n.longValue() > 1 << 24) {
            throw wrong(key, "must be a whole number", value);
        }
        return n.intValue();
    }

    public double number(String key, double fallback) throws MalformedFileException {
        Object value = get(key);
        if (value == null) {
            return fallback;
        }
        if (!(value instanceof Number n)) {
            throw wrong(key, "must be a number", value);
        }
        return n.doubleValue();
    }

    public boolean flag(String key) throws MalformedFileException {
        Object value = get(key);
        if (value != null && !(value instanceof Boolean)) {
            throw wrong(key, "must be true or false", value);
        }
        return Boolean.TRUE.equals(value);
    }

    public @Nullable String text(String key) throws MalformedFileException {
        Object value = get(key);
        if (value != null && !(value instanceof String)) {
            throw wrong(key, "must be a text", value);
        }
        return (String) value;
    }

    /** A list of texts without doubles; empty if missing. A single text is a list of one. */
    public List<String> texts(String key) throws MalformedFileException {
        Object value = get(key);
        if (value instanceof String one) {
            return List.of(one);
        }
        List<String> texts = new ArrayList<>();
        for (Object item : list(key, value)) {
            if (!(item instanceof String text)) {
                throw wrong(key, "must be a list of texts", value);
            }
            if (!texts.contains(text)) {
                texts.add(text);
            }
        }
        return texts;
    }

    /** A list of whole numbers; a single number is a list of one; empty if missing. */
    public List<Integer> counts(String key) throws MalformedFileException {
        Object value = get(key);
        List<Integer> counts = new ArrayList<>();
        for (Object item : value instanceof Number ? List.of(value) : list(key, value)) {
            if (!(item instanceof Number n)) {
                throw wrong(key, "must be a list of whole numbers", value);
            }
            counts.add(n.intValue());
        }
        return counts;
    }

    private List<?> list(String key, @Nullable Object value) throws MalformedFileException {
        if (value == null) {
            return List.of();
        }
        if (!(value instanceof List<?> list)) {
            throw wrong(key, "must be a list", value);
        }
        return list;
    }

    /** Numbers by name, in the file's order. */
    public Map<String, Double> numbers(String key) throws MalformedFileException {
        Object value = get(key);
        Map<String, Double> numbers = new LinkedHashMap<>();
        if (value == null) {
            return numbers;
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw wrong(key, "must be an object", value);
        }
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            if (!(entry.getValue() instanceof Number n)) {
                throw wrong(key, "must have numbers as values", value);
            }
            numbers.put(String.valueOf(entry.getKey()), n.doubleValue());
        }
        return numbers;
    }

    /** What must be missing, null, false, 0 or empty, because it changes the formula and we do not have it. */
    public void refuse(Set<String> keys) throws MalformedFileException {
        for (String key : keys) {
            Object value = get(key);
            boolean unset = value == null
                    || Boolean.FALSE.equals(value)
                    || (value instanceof Number n && n.doubleValue() == 0)
                    || (value instanceof List<?> l && l.isEmpty())
                    || (value instanceof Map<?, ?> m && m.isEmpty());
            if (!unset) {
                throw wrong(key, "is not supported", value);
            }
        }
    }

    public MalformedFileException wrong(String key, String expected, @Nullable Object value) {
        return new MalformedFileException(
                file.directory().resolve(AdapterFiles.CONFIG), -1, key + " " + expected + ", got " + value);
    }

    /** An error of a setting's own check, with the file's name. */
    public MalformedFileException wrong(IllegalArgumentException e) {
        return new MalformedFileException(
                file.directory().resolve(AdapterFiles.CONFIG), -1, String.valueOf(e.getMessage()));
    }
}
