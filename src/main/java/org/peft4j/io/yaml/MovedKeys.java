package org.peft4j.io.yaml;

import java.lang.reflect.RecordComponent;
import java.math.BigDecimal;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;

/**
 * Puts the keys of earlier files where they stand now, in each layer (the file, an option) by itself: a later layer overrides
 * an earlier one, whichever of the two names they use.
 */
final class MovedKeys {
    private final YamlSchema schema;
    private final Class<?> root;

    /** A value on its way. */
    private record Moved(String from, String to, YamlNode value, String where) {}

    /** @param root the record that the top of the file is read into */
    MovedKeys(YamlSchema schema, Class<?> root) {
        this.schema = schema;
        this.root = root;
    }

    /** The layer with every key at its place of today. */
    YamlNode apply(YamlNode layer) {
        YamlNode result = layer;
        for (Map.Entry<String, String> move : schema.moved.entrySet()) {
            if (result instanceof YamlNode.Mapping mapping) {
                List<String> from = path(move.getKey());
                Moved moved = find(mapping, from, move);
                if (moved != null) {
                    result = put(without(mapping, from), root, path(move.getValue()), moved);
                }
            }
        }
        return result;
    }

    private static List<String> path(String keys) {
        return List.of(keys.split("\\.", -1));
    }

    private static @Nullable Moved find(YamlNode.Mapping map, List<String> path, Map.Entry<String, String> move) {
        String key = path.get(0);
        YamlNode value = map.values().get(key);
        if (path.size() > 1) {
            return value instanceof YamlNode.Mapping below ? find(below, rest(path), move) : null;
        }
        if (value == null) {
            return null;
        }
        String place = map.keys().getOrDefault(key, value.where());
        String where = place.startsWith("--set ") ? place : place + ", as " + move.getKey();
        return new Moved(move.getKey(), move.getValue(), value, where);
    }

    private static YamlNode.Mapping without(YamlNode.Mapping map, List<String> path) {
        Map<String, YamlNode> values = new LinkedHashMap<>(map.values());
        if (path.size() == 1) {
            values.remove(path.get(0));
        } else {
            values.computeIfPresent(path.get(0), (key, below) -> without((YamlNode.Mapping) below, rest(path)));
        }
        return new YamlNode.Mapping(map.where(), values, map.keys());
    }

    private YamlNode.Mapping put(YamlNode.Mapping map, Class<?> type, List<String> path, Moved moved) {
        String key = path.get(0);
        YamlNode there = map.values().get(key);
        YamlNode next;
        if (path.size() == 1) {
            if (there != null && !same(there, moved.value())) {
                throw new ConfigException(
                        "'" + moved.from() + "' is " + moved.value().received() + " (" + moved.where()
                                + ") and '" + moved.to() + "' is " + there.received() + " ("
                                + map.keys().get(key)
                                + "), but they are the same setting; keep " + moved.to());
            }
            next = there == null ? moved.value() : there;
        } else {
            Class<?> below = component(type, key);
            YamlNode parent = there == null
                    ? new YamlNode.Mapping(moved.where(), Map.of(), Map.of())
                    : schema.spelledOut(below, there);
            if (!(parent instanceof YamlNode.Mapping inner)) {
                return map; // the parent is wrong, and will be told
            }
            next = put(inner, below, rest(path), moved);
        }
        Map<String, YamlNode> values = new LinkedHashMap<>(map.values());
        Map<String, String> keys = new LinkedHashMap<>(map.keys());
        values.put(key, next);
        keys.putIfAbsent(key, moved.where());
        return new YamlNode.Mapping(map.where(), values, keys);
    }

    private static List<String> rest(List<String> path) {
        return path.subList(1, path.size());
    }

    private static Class<?> component(Class<?> record, String key) {
        for (RecordComponent component : record.getRecordComponents()) {
            if (YamlSchema.snakeCase(component.getName()).equals(key)) {
                return component.getType();
            }
        }
        throw new IllegalStateException(record + " has no '" + key + "' that a key could move to");
    }

    /** Whether two nodes say the same, wherever they stand; numbers may be written in several ways. */
    private static boolean same(YamlNode a, YamlNode b) {
        if (a instanceof YamlNode.Scalar one && b instanceof YamlNode.Scalar other) {
            return Objects.equals(one.text(), other.text()) || sameNumber(one.text(), other.text());
        }
        if (a instanceof YamlNode.Sequence one && b instanceof YamlNode.Sequence other) {
            return one.items().size() == other.items().size()
                    && IntStream.range(0, one.items().size())
                            .allMatch(
                                    i -> same(one.items().get(i), other.items().get(i)));
        }
        return false;
    }

    private static boolean sameNumber(@Nullable String a, @Nullable String b) {
        try {
            return a != null
                    && b != null
                    && new BigDecimal(a.replace("_", "")).compareTo(new BigDecimal(b.replace("_", ""))) == 0;
        } catch (NumberFormatException e) {
            return false;
        }
    }
}
