package org.peft4j.io;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/**
 * The table of a config file's keys. Each is obeyed, harmless for a written reason, or refused by name unless it has a value
 * that asks for nothing we do not do; so no key is passed over because nobody thought of it. A key that the table lacks is
 * one that the library whose file it is does not know either; it is noted. Immutable.
 */
public final class ConfigKeys {
    /**
     * What is done with a key, for a stated reason; {@code fits} is asked of values that are not null. Others are refused, or
     * passed over and told.
     */
    private record Row(String reason, Predicate<Object> fits, boolean told) {}

    private final String library;
    private final Map<String, Row> rows;

    private ConfigKeys(Builder builder) {
        library = builder.library;
        rows = Map.copyOf(builder.rows);
    }

    /** @param library whose files they are, with its version, such as {@code PEFT 0.21} */
    public static Builder of(String library) {
        return new Builder(library);
    }

    /** The keys that the table has. */
    public Set<String> keys() {
        return rows.keySet();
    }

    /**
     * Judges a file.
     *
     * @return what a user should know: keys that nobody knows
     * @throws MalformedFileException if a key asks for something that is not done here; it names the key
     */
    public List<String> check(Path file, Map<String, ? extends @Nullable Object> config) throws MalformedFileException {
        List<String> notes = new ArrayList<>();
        for (Map.Entry<String, ? extends @Nullable Object> entry : config.entrySet()) {
            Object value = entry.getValue();
            Row row = rows.get(entry.getKey());
            if (value == null) {
                continue; // as if it were not there, for every reader of these files
            }
            if (row == null) {
                if (!isUnset(value)) {
                    notes.add(file.getFileName() + ": '" + entry.getKey() + "' is passed over, as " + library
                            + " does, which does not know it either");
                }
            } else if (!row.fits().test(value) && row.told()) {
                notes.add(file.getFileName() + ": '" + entry.getKey() + "' is passed over: " + row.reason());
            } else if (!row.fits().test(value)) {
                throw new MalformedFileException(
                        file, -1, entry.getKey() + " " + Json.shown(value) + " is not supported: " + row.reason());
            }
        }
        return notes;
    }

    /** False, 0, or empty: what asks for nothing. */
    public static boolean isUnset(Object value) {
        return value.equals(false)
                || value.equals("")
                || (value instanceof Number number && number.doubleValue() == 0)
                || (value instanceof Collection<?> list && list.isEmpty())
                || (value instanceof Map<?, ?> map && map.isEmpty());
    }

    /** Collects the rows; a key may be given once. */
    public static final class Builder {
        private final String library;
        private final Map<String, Row> rows = new LinkedHashMap<>();

        private Builder(String library) {
            this.library = library;
        }

        /** Keys that the reader of the file takes, with checks of its own. */
        public Builder obeyed(String... keys) {
            return rows("obeyed", value -> true, keys);
        }

        /** Keys whose value, whatever it is, changes nothing that is computed here; the reason says why. */
        public Builder harmless(String reason, String... keys) {
            return rows(reason, value -> true, keys);
        }

        /** A key that has to be one of these, or missing; the reason says what else it would ask for. */
        public Builder only(String key, List<?> values, String reason) {
            return rows(reason, values::contains, key);
        }

        /** Keys that have to be false, 0, empty or missing; the reason says what they would ask for. */
        public Builder unset(String reason, String... keys) {
            return rows(reason, ConfigKeys::isUnset, keys);
        }

        /** A key that the library reads no more: what it asks for is passed over, which is told unless it asks for nothing. */
        public Builder told(String key, Predicate<Object> nothing, String reason) {
            put(key, new Row(reason, nothing, true));
            return this;
        }

        /** The rows of another table. */
        public Builder all(ConfigKeys other) {
            other.rows.forEach(this::put);
            return this;
        }

        private Builder rows(String reason, Predicate<Object> fits, String... keys) {
            Arrays.stream(keys).forEach(key -> put(key, new Row(reason, fits, false)));
            return this;
        }

        private void put(String key, Row row) {
            if (rows.putIfAbsent(key, row) != null) {
                throw new IllegalArgumentException("a table has each key once, '" + key + "' comes again");
            }
        }

        public ConfigKeys build() {
            return new ConfigKeys(this);
        }
    }
}
