package org.peft4j.io.yaml;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A piece of a YAML text that remembers where it stands ({@code "spam.yaml, line 9"}), so that errors can say so. */
public sealed interface YamlNode {
    /** File and line, or the command-line option, that this piece comes from. */
    String where();

    /** What the user wrote, shortened, for "received …". */
    String received();

    /** One value; {@code text} is null for YAML's null. */
    record Scalar(String where, @Nullable String text) implements YamlNode {
        @Override
        public String received() {
            return text == null ? "nothing" : "'" + (text.length() > 60 ? text.substring(0, 60) + "…" : text) + "'";
        }
    }

    /** A list. */
    record Sequence(String where, List<YamlNode> items) implements YamlNode {
        @Override
        public String received() {
            return "a list";
        }
    }

    /** A map in the order of the text; {@code keys} has the place of each key. */
    record Mapping(String where, Map<String, YamlNode> values, Map<String, String> keys) implements YamlNode {
        @Override
        public String received() {
            return "a map with the keys " + values.keySet();
        }
    }

    /** {@code --set key=null}: takes back what was said before, so that the key has its default again. */
    record Reset(String where) implements YamlNode {
        @Override
        public String received() {
            return "nothing";
        }
    }

    /** The node of a tree of maps, lists and values, all of which stand at one place. */
    static YamlNode of(@Nullable Object tree, String where) {
        if (tree instanceof Map<?, ?> map) {
            Map<String, YamlNode> values = new LinkedHashMap<>();
            Map<String, String> keys = new LinkedHashMap<>();
            map.forEach((key, value) -> {
                values.put(String.valueOf(key), of(value, where));
                keys.put(String.valueOf(key), where);
            });
            return new Mapping(where, values, keys);
        }
        if (tree instanceof List<?> list) {
            List<YamlNode> items = new ArrayList<>();
            list.forEach(item -> items.add(of(item, where)));
            return new Sequence(where, items);
        }
        return new Scalar(where, tree == null ? null : String.valueOf(tree));
    }

    /** Whether this is YAML's null. */
    default boolean isNull() {
        return this instanceof Scalar scalar && scalar.text() == null;
    }
}
