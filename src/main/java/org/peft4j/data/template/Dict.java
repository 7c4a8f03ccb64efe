package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Python's dict: keys in the order in which they came, {@code 1}, {@code 1.0} and {@code true} being one key. */
final class Dict {
    private final Map<Object, Tuple> entries = new LinkedHashMap<>();

    /**
     * @throws TemplateError for a key that cannot be one
     */
    void put(@Nullable Object key, @Nullable Object value) {
        entries.merge(
                Keys.of(key),
                Tuple.of(key, value),
                (old, now) -> Tuple.of(old.items().get(0), value));
    }

    void putAll(Dict other) {
        other.entries
                .values()
                .forEach(pair -> put(pair.items().get(0), pair.items().get(1)));
    }

    boolean has(@Nullable Object key) {
        return entries.containsKey(Keys.of(key));
    }

    /** The value of a key; null where there is none, and for None. */
    @Nullable
    Object get(@Nullable Object key) {
        Tuple pair = entries.get(Keys.of(key));
        return pair == null ? null : pair.items().get(1);
    }

    int size() {
        return entries.size();
    }

    /** Pairs of key and value. */
    List<@Nullable Object> items() {
        return new ArrayList<>(entries.values());
    }

    List<@Nullable Object> keys() {
        return column(0);
    }

    List<@Nullable Object> values() {
        return column(1);
    }

    private List<@Nullable Object> column(int which) {
        List<@Nullable Object> all = new ArrayList<>(entries.size());
        entries.values().forEach(pair -> all.add(pair.items().get(which)));
        return all;
    }
}
