package org.peft4j.io.yaml;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.io.NearestName;

/**
 * Binds YAML to records. Every value is bound from several layers at once (the file, then each option of the command
 * line): maps and records are merged key by key, anything else is taken from the last layer that has it. A key that no
 * layer has keeps its default.
 */
final class RecordBinder {
    private final YamlSchema schema;

    RecordBinder(YamlSchema schema) {
        this.schema = schema;
    }

    /**
     * @param layers at least one node, later ones win
     * @param base the record that gives the defaults, or null
     * @param path the key in the file, "" at its top
     */
    Object record(Class<?> type, List<YamlNode> layers, @Nullable Record base, String path) {
        YamlSchema.Choice choice = schema.choices.get(type);
        if (choice != null) {
            return chosen(choice, spelledOut(type, layers), base, path);
        }
        List<YamlNode.Mapping> maps = mappings(type, layers, path);
        refuseUnknown(type, maps, path);
        return bound(type, maps, base, path);
    }

    /** The record of the keys that are its own; there may be others. */
    private Object bound(Class<?> type, List<YamlNode.Mapping> maps, @Nullable Record base, String path) {
        RecordComponent[] components = type.getRecordComponents();
        Map<String, Object> defaults = new LinkedHashMap<>(schema.defaults.getOrDefault(type, Map.of()));
        if (base != null && type.isInstance(base)) {
            defaults.putAll(RecordTree.components(base));
        }
        defaults.putAll(named(type, maps, path));
        List<String> alternatives = schema.alternatives.getOrDefault(type, List.of());
        if (alternatives.stream().anyMatch(key -> !layersOf(key, maps).isEmpty())) {
            defaults.keySet().removeAll(alternatives);
        }
        Object[] values = new Object[components.length];
        for (int i = 0; i < components.length; i++) {
            values[i] = component(components[i], maps, defaults, path);
        }
        return construct(type, components, values, maps, path);
    }

    /** The values of the record that is named, if one is. */
    private Map<String, Object> named(Class<?> type, List<YamlNode.Mapping> maps, String path) {
        YamlSchema.Named named = schema.named.get(type);
        List<YamlNode> layers = named == null ? List.of() : layersOf(named.key(), maps);
        if (named == null || layers.isEmpty()) {
            return Map.of();
        }
        YamlNode last = layers.get(layers.size() - 1);
        String keyPath = path.isEmpty() ? named.key() : path + "." + named.key();
        Record record = named.records().get((String) YamlValues.scalar(String.class, last, keyPath));
        if (record == null) {
            throw YamlValues.wrong("one of " + String.join(", ", named.records().keySet()), last, keyPath);
        }
        return RecordTree.components(record);
    }

    private @Nullable Object component(
            RecordComponent component, List<YamlNode.Mapping> maps, Map<String, Object> defaults, String path) {
        String key = YamlSchema.snakeCase(component.getName());
        if (schema.flat.contains(component.getType())) {
            return bound(component.getType(), maps, (Record) defaults.get(key), path);
        }
        String keyPath = path.isEmpty() ? key : path + "." + key;
        Object preset = defaults.get(key);
        List<YamlNode> layers = layersOf(key, maps);
        boolean nullable = YamlValues.isNullable(component);
        if (layers.isEmpty()) {
            if (preset == null && !nullable) {
                throw missing(key, maps, path);
            }
            return preset;
        }
        YamlNode last = layers.get(layers.size() - 1);
        if (last.isNull() && nullable) {
            return null;
        }
        return value(component.getGenericType(), layers, preset, keyPath);
    }

    private Object value(Type type, List<YamlNode> layers, @Nullable Object preset, String path) {
        YamlNode last = layers.get(layers.size() - 1);
        Class<?> raw = (Class<?>) (type instanceof ParameterizedType parameterized ? parameterized.getRawType() : type);
        YamlSchema.Form<?> form = schema.forms.get(raw);
        if (form != null) {
            return YamlValues.at(last, path, () -> form.read().apply(last));
        }
        if (raw.isRecord() || schema.choices.containsKey(raw)) {
            return record(raw, layers, (Record) preset, path);
        }
        if (raw == List.class) {
            return list(argument(type, 0), last, path);
        }
        if (raw == Map.class) {
            return map(argument(type, 1), layers, preset, path);
        }
        if (raw == Object.class) {
            return YamlValues.plain(last, path);
        }
        Object former = last instanceof YamlNode.Scalar scalar && scalar.text() != null
                ? schema.formerNames.getOrDefault(raw, Map.of()).get(scalar.text())
                : null;
        return former != null ? former : YamlValues.scalar(raw, last, path);
    }

    private List<Object> list(Type item, YamlNode node, String path) {
        if (node.isNull()) {
            return List.of();
        }
        if (!(node instanceof YamlNode.Sequence sequence)) {
            throw YamlValues.wrong("a list such as [a, b]", node, path);
        }
        List<Object> values = new ArrayList<>();
        for (YamlNode element : sequence.items()) {
            values.add(value(item, List.of(element), null, path + "[" + values.size() + "]"));
        }
        return Collections.unmodifiableList(values);
    }

    private Map<String, Object> map(Type item, List<YamlNode> layers, @Nullable Object preset, String path) {
        Map<String, Object> values = new LinkedHashMap<>();
        if (preset instanceof Map<?, ?> map) {
            map.forEach((key, value) -> values.put(String.valueOf(key), value));
        }
        List<YamlNode.Mapping> maps = new ArrayList<>();
        for (YamlNode layer : layers) {
            if (layer instanceof YamlNode.Mapping mapping) {
                maps.add(mapping);
            } else if (!layer.isNull()) {
                throw YamlValues.wrong("a map such as {name: value}", layer, path);
            }
        }
        for (YamlNode.Mapping mapping : maps) {
            for (String key : mapping.values().keySet()) {
                List<YamlNode> said = layersOf(key, maps);
                if (!said.isEmpty()) {
                    values.put(key, value(item, said, values.get(key), path + "." + key));
                }
            }
        }
        return Collections.unmodifiableMap(values);
    }

    /** Layers that name another record than the last one that names any are about something else: they are dropped. */
    private Object chosen(YamlSchema.Choice choice, List<YamlNode> layers, @Nullable Record base, String path) {
        String name = base == null ? null : choice.nameOf(base.getClass()).orElse(null);
        List<YamlNode> rest = new ArrayList<>();
        for (YamlNode layer : layers) {
            if (!(layer instanceof YamlNode.Mapping mapping)) {
                throw YamlValues.wrong("a map such as {" + choice.key() + ": …}", layer, path);
            }
            YamlNode typeNode = mapping.values().get(choice.key());
            if (typeNode instanceof YamlNode.Reset) { // with the type, what was said about it
                rest.clear();
                name = base == null ? null : choice.nameOf(base.getClass()).orElse(null);
            } else if (typeNode != null) {
                String named = (String) YamlValues.scalar(String.class, typeNode, path + "." + choice.key());
                if (!choice.records().containsKey(named)) {
                    throw YamlValues.wrong(
                            "one of " + String.join(", ", choice.records().keySet()),
                            typeNode,
                            path + "." + choice.key());
                }
                if (name != null && !named.equals(name)) {
                    rest.clear();
                }
                name = named;
            }
            rest.add(without(mapping, choice.key()));
        }
        if (name == null) {
            YamlNode first = layers.get(0);
            throw new ConfigException("missing '" + choice.key() + "'" + YamlValues.in(path) + " (" + first.where()
                    + "): one of " + String.join(", ", choice.records().keySet()));
        }
        return record(choice.records().get(name), rest, base, path);
    }

    private static YamlNode.Mapping without(YamlNode.Mapping mapping, String key) {
        Map<String, YamlNode> values = new LinkedHashMap<>(mapping.values());
        values.remove(key);
        return new YamlNode.Mapping(mapping.where(), values, mapping.keys());
    }

    private List<YamlNode> spelledOut(Class<?> type, List<YamlNode> layers) {
        return layers.stream().map(layer -> schema.spelledOut(type, layer)).toList();
    }

    private List<YamlNode.Mapping> mappings(Class<?> type, List<YamlNode> layers, String path) {
        List<YamlNode.Mapping> maps = new ArrayList<>();
        for (YamlNode layer : spelledOut(type, layers)) {
            if (layer instanceof YamlNode.Mapping mapping) {
                maps.add(mapping);
            } else {
                throw YamlValues.wrong("a map with the keys " + schema.keys(type), layer, path);
            }
        }
        return maps;
    }

    /** What the layers say about a key since it was last taken back. */
    private static List<YamlNode> layersOf(String key, List<YamlNode.Mapping> maps) {
        List<YamlNode> layers = new ArrayList<>();
        for (YamlNode.Mapping map : maps) {
            YamlNode node = map.values().get(key);
            if (node instanceof YamlNode.Reset) {
                layers.clear();
            } else if (node != null) {
                layers.add(node);
            }
        }
        return layers;
    }

    private void refuseUnknown(Class<?> type, List<YamlNode.Mapping> maps, String path) {
        List<String> known = new ArrayList<>(schema.keys(type));
        if (schema.named.containsKey(type)) {
            known.add(schema.named.get(type).key());
        }
        for (YamlNode.Mapping map : maps) {
            for (String key : map.values().keySet()) {
                if (known.contains(key)) {
                    continue;
                }
                String newName = schema.renamed.getOrDefault(type, Map.of()).get(key);
                throw new ConfigException("unknown key '" + key + "'" + YamlValues.in(path) + " ("
                        + map.keys().get(key) + ")"
                        + (newName == null ? hint(type, key, known, path) : "; it is called '" + newName + "' here"));
            }
        }
    }

    private String hint(Class<?> type, String key, List<String> known, String path) {
        String others = schema.others(type, key);
        return others.isEmpty() ? hint(key, known, path) : "; " + others;
    }

    /** What was probably meant: a key of this place, or one that stood here in earlier files. */
    private String hint(String key, List<String> known, String path) {
        String parent = path.isEmpty() ? "" : path + ".";
        Map<String, String> near = new LinkedHashMap<>();
        schema.moved.forEach((from, to) -> {
            String last = from.substring(from.lastIndexOf('.') + 1);
            if (from.equals(parent + last)) {
                near.put(last, to);
            }
        });
        known.forEach(name -> near.put(name, name));
        return NearestName.of(key, near.keySet())
                .map(name -> "; did you mean '" + near.get(name) + "'?")
                .orElseGet(() -> NearestName.hint(key, known));
    }

    private static ConfigException missing(String key, List<YamlNode.Mapping> maps, String path) {
        for (YamlNode.Mapping map : maps) {
            if (map.values().get(key) instanceof YamlNode.Reset reset) {
                return new ConfigException("'" + key + "'" + YamlValues.in(path)
                        + " has no default, so it has to be given (" + reset.where() + ")");
            }
        }
        String where = maps.isEmpty() ? "" : " (" + maps.get(0).where() + ")";
        return new ConfigException("missing key '" + key + "'" + YamlValues.in(path) + where);
    }

    private static Type argument(Type type, int index) {
        return ((ParameterizedType) type).getActualTypeArguments()[index];
    }

    private static Object construct(
            Class<?> type,
            RecordComponent[] components,
            @Nullable Object[] values,
            List<YamlNode.Mapping> maps,
            String path) {
        try {
            Class<?>[] types =
                    Arrays.stream(components).map(RecordComponent::getType).toArray(Class<?>[]::new);
            return type.getDeclaredConstructor(types).newInstance(values);
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof IllegalArgumentException refused) {
                throw refusal(refused, components, maps, path);
            }
            throw new IllegalStateException("the constructor of " + type + " failed", e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(type + " has to be a public record", e);
        }
    }

    /**
     * A record's own check failed: its message begins with the component's name, so the line of that key is known. Names of
     * components in it become those of their keys.
     */
    private static ConfigException refusal(
            IllegalArgumentException refused, RecordComponent[] components, List<YamlNode.Mapping> maps, String path) {
        String message = String.valueOf(refused.getMessage());
        String where = maps.isEmpty() ? "" : maps.get(maps.size() - 1).where();
        for (RecordComponent component : components) {
            String key = YamlSchema.snakeCase(component.getName());
            if (message.startsWith(component.getName() + " ")) {
                for (YamlNode.Mapping map : maps) {
                    where = map.keys().getOrDefault(key, where);
                }
            }
            if (!key.equals(component.getName())) { // else it may be a plain word, too
                message = message.replaceAll("\\b" + component.getName() + "\\b", key);
            }
        }
        return new ConfigException(
                message + YamlValues.in(path) + (where.isEmpty() ? "" : " (" + where + ")"), refused);
    }
}
