package org.peft4j.method.spi;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.method.Targets;

/** Typed access to {@code adapter_config.json}; which keys may be there at all, {@link Method#keys} says. */
public final class PeftConfigReader {
    private static final int MOST = 1 << 24;

    /** Settings that PEFT calls otherwise than we do. */
    private static final Map<String, String> KEYS = Map.ofEntries(
            Map.entry("alpha", "lora_alpha"),
            Map.entry("dropout", "lora_dropout"),
            Map.entry("virtualTokens", "num_virtual_tokens"),
            Map.entry("targets", "target_modules"),
            Map.entry("tokens", "token_indices"),
            Map.entry("encoderLayers", "encoder_num_layers"),
            Map.entry("tasks", "num_tasks"),
            Map.entry("promptTokens", "cpt_token_ids"),
            Map.entry("tokenTypes", "cpt_tokens_type_mask"),
            Map.entry("lossDecay", "opt_loss_decay_factor"),
            Map.entry("inputEpsilon", "opt_projection_epsilon"),
            Map.entry("formatEpsilon", "opt_projection_format_epsilon"),
            Map.entry("deltaT", "deltaT"),
            Map.entry("ranks", "num_ranks"),
            Map.entry("topK", "top_k_lora"),
            Map.entry("feedforward", "feedforward_modules"));

    private final AdapterFile file;

    public PeftConfigReader(AdapterFile file) {
        this.file = file;
    }

    public @Nullable Object get(String key) {
        return file.config().get(key);
    }

    /** A whole number that is not negative; fallback where the key is missing. */
    public int count(String key, int fallback) throws MalformedFileException {
        Object value = get(key);
        return value == null ? fallback : count(key, value, value);
    }

    /** @param whole the key's whole value, for the message */
    private int count(String key, @Nullable Object value, Object whole) throws MalformedFileException {
        if (!(value instanceof Number n)
                || n.doubleValue() != Math.rint(n.doubleValue())
                || n.doubleValue() < 0
                || n.doubleValue() > MOST) {
            String among = value == whole ? "" : ", in " + whole;
            throw wrong(key, "must be a whole number from 0 to " + MOST, value + among);
        }
        return n.intValue();
    }

    /** A whole number of any sign, such as a seed; fallback where the key is missing. */
    public long whole(String key, long fallback) throws MalformedFileException {
        Object value = get(key);
        if (value == null) {
            return fallback;
        }
        if (!(value instanceof Number n)
                || n.doubleValue() != Math.rint(n.doubleValue())
                || Math.abs(n.doubleValue()) > Long.MAX_VALUE) {
            throw wrong(key, "must be a whole number of 64 bits", value);
        }
        return n.longValue();
    }

    public double number(String key, double fallback) throws MalformedFileException {
        Object value = get(key);
        return value == null ? fallback : number(key, value, value);
    }

    private double number(String key, @Nullable Object value, Object whole) throws MalformedFileException {
        if (!(value instanceof Number n)) {
            throw wrong(key, value == whole ? "must be a number" : "must have numbers as values", whole);
        }
        return n.doubleValue();
    }

    public boolean flag(String key) throws MalformedFileException {
        return flag(key, false);
    }

    /** True or false; fallback where the key is missing. */
    public boolean flag(String key, boolean fallback) throws MalformedFileException {
        Object value = get(key);
        if (value != null && !(value instanceof Boolean)) {
            throw wrong(key, "must be true or false", value);
        }
        return value == null ? fallback : (Boolean) value;
    }

    public @Nullable String text(String key) throws MalformedFileException {
        Object value = get(key);
        if (value != null && !(value instanceof String)) {
            throw wrong(key, "must be a text", value);
        }
        return (String) value;
    }

    /** Modules by a list of names or one string; null if missing or empty. */
    public @Nullable Targets targets(String key) throws MalformedFileException {
        if (get(key) instanceof String text) {
            return Targets.of(text);
        }
        List<String> names = texts(key);
        return names.isEmpty() ? null : Targets.names(names);
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
        return counts(key, get(key));
    }

    /** The same of a value that is a part of the key's. */
    public List<Integer> counts(String key, @Nullable Object value) throws MalformedFileException {
        List<Integer> counts = new ArrayList<>();
        for (Object item : value instanceof Number ? List.of(value) : list(key, value)) {
            counts.add(count(key, item, String.valueOf(value)));
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
        Map<String, Double> numbers = new LinkedHashMap<>();
        for (Map.Entry<?, ?> entry : map(key).entrySet()) {
            numbers.put(String.valueOf(entry.getKey()), number(key, entry.getValue(), map(key)));
        }
        return numbers;
    }

    /** Whole numbers by name, in the file's order. */
    public Map<String, Integer> countsByName(String key) throws MalformedFileException {
        Map<String, Integer> counts = new LinkedHashMap<>();
        for (Map.Entry<?, ?> entry : map(key).entrySet()) {
            counts.put(String.valueOf(entry.getKey()), count(key, entry.getValue(), map(key)));
        }
        return counts;
    }

    private Map<?, ?> map(String key) throws MalformedFileException {
        Object value = get(key);
        if (value == null) {
            return Map.of();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw wrong(key, "must be an object", value);
        }
        return map;
    }

    public MalformedFileException wrong(String key, String expected, @Nullable Object value) {
        return new MalformedFileException(
                file.directory().resolve(AdapterFiles.CONFIG), -1, key + " " + expected + ", got " + Json.shown(value));
    }

    /** An error of a setting's own check, with the file's name and the name that the setting has there. */
    public MalformedFileException wrong(RuntimeException e) {
        String message = String.valueOf(e.getMessage());
        String setting = message.substring(0, Math.max(0, message.indexOf(' ')));
        String own = setting.replaceAll("([a-z])([A-Z])", "$1_$2").toLowerCase(Locale.ROOT);
        String key = file.config().containsKey(own)
                ? own
                : file.config().keySet().stream()
                        .filter(candidate -> candidate.endsWith("_" + own)) // alpha is lora_alpha or randlora_alpha
                        .findFirst()
                        .orElse(KEYS.getOrDefault(setting, own));
        return new MalformedFileException(
                file.directory().resolve(AdapterFiles.CONFIG), -1, key + message.substring(setting.length()));
    }
}
