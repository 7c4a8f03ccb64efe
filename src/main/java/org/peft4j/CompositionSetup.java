package org.peft4j;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.io.Json;

/** A {@link Composition} as {@code adapters} writes it: {@code {"type", "children", "kwargs"}}, a name as type {@code single}. */
final class CompositionSetup {
    private static final String SINGLE = "single";
    private static final String KWARGS = "kwargs";
    private static final String WHERE = "adapter setup: ";

    private CompositionSetup() {}

    static Map<String, Object> write(Composition composition) {
        return composition instanceof Composition.Name
                ? node(new Composition.Stack(List.of(composition))) // a name alone is read by nobody there
                : node(composition);
    }

    private static Map<String, Object> node(Composition of) {
        Map<String, Object> node = new LinkedHashMap<>();
        if (of instanceof Composition.Name leaf) {
            node.put("type", SINGLE);
            node.put("children", List.of(leaf.name()));
            return node;
        }
        node.put("type", of.getClass().getSimpleName());
        node.put("children", of.children().stream().map(CompositionSetup::node).toList());
        if (of instanceof Composition.Split split) {
            node.put(KWARGS, Map.of("splits", split.sizes()));
        } else if (of instanceof Composition.BatchSplit split) {
            node.put(KWARGS, Map.of("batch_sizes", split.sizes()));
        } else if (of instanceof Composition.Average average) {
            node.put(KWARGS, Map.of("weights", average.weights()));
        }
        return node;
    }

    static Composition read(String json) {
        Object read;
        try {
            read = Json.parse(json);
        } catch (IllegalArgumentException e) {
            throw new ConfigException(WHERE + e.getMessage(), e);
        }
        return read(map(read, "an object with type and children"));
    }

    static Composition read(Map<String, ? extends @Nullable Object> setup) {
        Object inner = setup.get("adapter_setup");
        try {
            return node(inner == null ? setup : map(inner, "adapter_setup as an object"), 0);
        } catch (IllegalArgumentException e) {
            throw new ConfigException(WHERE + e.getMessage(), e);
        }
    }

    private static Composition node(Map<String, ? extends @Nullable Object> node, int depth) {
        if (depth > CompositionRules.DEPTH) {
            throw new ConfigException(
                    WHERE + "a composition has at most " + CompositionRules.DEPTH + " blocks within each other");
        }
        for (String key : node.keySet()) {
            if (!Set.of("type", "children", KWARGS).contains(key)) {
                throw new ConfigException(WHERE + "a block has type, children and kwargs, got " + key);
            }
        }
        List<?> children = list(node.get("children"), "children");
        String type = String.valueOf(node.get("type"));
        if (type.equals(SINGLE)) {
            if (children.size() != 1 || !(children.get(0) instanceof String name)) {
                throw new ConfigException(WHERE + "single has one name, got " + Json.shown(children));
            }
            return Composition.of(name);
        }
        List<Composition> parts = new ArrayList<>();
        for (Object child : children) {
            parts.add(node(map(child, "children that are objects"), depth + 1));
        }
        Object given = node.get(KWARGS);
        Map<String, @Nullable Object> kwargs = given == null ? Map.of() : map(given, "kwargs as an object");
        return block(type, parts, kwargs);
    }

    private static Composition block(
            String type, List<Composition> parts, Map<String, ? extends @Nullable Object> kwargs) {
        switch (type) {
            case "Split":
                only(type, kwargs, Set.of("splits"));
                return new Composition.Split(parts, sizes(kwargs.get("splits"), "splits", parts.size()));
            case "BatchSplit":
                only(type, kwargs, Set.of("batch_sizes"));
                return new Composition.BatchSplit(parts, sizes(kwargs.get("batch_sizes"), "batch_sizes", parts.size()));
            case "Average":
                only(type, kwargs, Set.of("weights", "normalize_weights"));
                if (kwargs.containsKey("normalize_weights") && !Boolean.TRUE.equals(kwargs.get("normalize_weights"))) {
                    throw new ConfigException(WHERE + "Average takes normalize_weights true alone, got "
                            + kwargs.get("normalize_weights") + "; weights are scaled here");
                }
                return kwargs.get("weights") == null
                        ? Composition.average(parts.toArray(Composition[]::new))
                        : new Composition.Average(parts, weights(kwargs.get("weights")));
            case "Stack":
                only(type, kwargs, Set.of());
                return new Composition.Stack(parts);
            case "Fuse":
                only(type, kwargs, Set.of());
                return new Composition.Fuse(parts);
            case "Parallel":
                only(type, kwargs, Set.of());
                return new Composition.Parallel(parts);
            default:
                throw new ConfigException(WHERE
                        + "type must be Stack, Fuse, Split, BatchSplit, Average, Parallel or single, got " + type);
        }
    }

    private static void only(String type, Map<String, ? extends @Nullable Object> kwargs, Set<String> known) {
        for (String key : kwargs.keySet()) {
            if (!known.contains(key)) {
                throw new ConfigException(WHERE + type + " takes of kwargs "
                        + (known.isEmpty() ? "none" : known.stream().sorted().toList()) + ", got " + key);
            }
        }
    }

    /** One number counts for each. */
    private static List<Integer> sizes(@Nullable Object given, String key, int children) {
        List<?> all = given instanceof Number ? Collections.nCopies(children, given) : list(given, key);
        List<Integer> sizes = new ArrayList<>();
        for (Object size : all) {
            if (!(size instanceof Number number) || number.doubleValue() != number.intValue()) {
                throw new ConfigException(WHERE + key + " must be whole numbers, got " + Json.shown(given));
            }
            sizes.add(number.intValue());
        }
        return sizes;
    }

    private static List<Double> weights(@Nullable Object given) {
        List<Double> weights = new ArrayList<>();
        for (Object weight : list(given, "weights")) {
            if (!(weight instanceof Number number)) {
                throw new ConfigException(WHERE + "weights must be numbers, got " + Json.shown(given));
            }
            weights.add(number.doubleValue());
        }
        return weights;
    }

    private static List<?> list(@Nullable Object value, String key) {
        if (value instanceof List<?> list) {
            return list;
        }
        throw new ConfigException(WHERE + key + " must be a list, got " + Json.shown(value));
    }

    @SuppressWarnings("unchecked") // keys of JSON are texts
    private static Map<String, @Nullable Object> map(@Nullable Object value, String expected) {
        if (value instanceof Map<?, ?> map) {
            return (Map<String, @Nullable Object>) map;
        }
        throw new ConfigException(WHERE + "expected " + expected + ", got " + Json.shown(value));
    }
}
