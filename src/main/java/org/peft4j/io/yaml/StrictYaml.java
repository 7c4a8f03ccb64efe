package org.peft4j.io.yaml;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;

/**
 * Settings from YAML, bound strictly to records: {@code learning_rate} in the file is the component
 * {@code learningRate}. The defaults are overlaid by the file, the file by options such as
 * {@code --set training.epochs=2}.
 *
 * <p>A component's type is a record, {@code int}, {@code long}, {@code double}, {@code boolean} or a box of them,
 * {@code String}, {@code Path}, an enum ({@code FLOAT_A} is written {@code float-a} or {@code float_a}), a {@code List}
 * or a {@code Map<String, …>} of these, or what the {@link YamlSchema} describes. A component that is
 * {@code @Nullable} may be {@code null} or left out. Numbers may be written {@code 5e-4} and {@code 10_000}.
 *
 * <p>An unknown or duplicate key, a missing key, a value of the wrong type and a value that a record's constructor
 * refuses are a {@link ConfigException} with file and line, at the first one found; a file that cannot be read is one
 * too.
 */
public final class StrictYaml {
    private StrictYaml() {}

    /** Reads a file into a record whose type needs no schema. */
    public static <T> T read(Path file, Class<T> type, @Nullable T defaults, List<String> overrides) {
        return read(file, type, defaults, overrides, YamlSchema.empty());
    }

    /**
     * Reads a file into a record.
     *
     * @param defaults gives the values of keys that are left out; null where the schema's defaults are enough
     * @param overrides options of the form {@code a.b=value}, the value in YAML; later ones win. {@code a.b=null} takes
     *                  the setting back to its default
     */
    public static <T> T read(
            Path file, Class<T> type, @Nullable T defaults, List<String> overrides, YamlSchema schema) {
        return read(YamlReader.read(file), type, defaults, overrides, schema);
    }

    private static <T> T read(
            YamlNode tree, Class<T> type, @Nullable T defaults, List<String> overrides, YamlSchema schema) {
        List<YamlNode> layers = new ArrayList<>();
        layers.add(tree);
        overrides.forEach(override -> layers.add(override(override)));
        MovedKeys moved = new MovedKeys(schema, type);
        List<YamlNode> now = layers.stream().map(moved::apply).toList();
        return type.cast(new RecordBinder(schema).record(type, now, (Record) defaults, ""));
    }

    /**
     * The record, or one of the choice, that {@link #toMap} gave the tree for; {@code where} names the place of the tree in
     * errors.
     */
    public static <T> T fromMap(Map<String, ?> tree, String where, Class<T> type, YamlSchema schema) {
        return type.cast(new RecordBinder(schema).record(type, List.of(YamlNode.of(tree, where)), null, ""));
    }

    /** A record from a tree, under overrides as in {@link #read}; {@code where} names the place of the tree in errors. */
    public static <T> T fromMap(
            Map<String, ?> tree, String where, Class<T> type, List<String> overrides, YamlSchema schema) {
        return read(YamlNode.of(tree, where), type, null, overrides, schema);
    }

    /** The tree of maps, lists and values that {@link #read} would give the record for; in the order of components. */
    public static Map<String, Object> toMap(Record record, YamlSchema schema) {
        return new RecordTree(schema).map(record);
    }

    private static YamlNode override(String override) {
        String where = "--set " + override;
        int equals = override.indexOf('=');
        if (equals < 1) {
            throw new ConfigException(
                    "expected key=value, such as training.epochs=2, received '" + override + "' (" + where + ")");
        }
        String text = override.substring(equals + 1);
        if (text.isBlank()) { // a shell's variable that is not set, perhaps
            throw new ConfigException("no value for '"
                    + override.substring(0, equals).strip() + "' (" + where + "); to take the setting back write "
                    + override.substring(0, equals).strip() + "=null");
        }
        YamlNode node = value(text, where);
        String[] keys = override.substring(0, equals).strip().split("\\.", -1);
        for (int i = keys.length - 1; i >= 0; i--) {
            Map<String, YamlNode> values = new LinkedHashMap<>();
            values.put(keys[i], node);
            node = new YamlNode.Mapping(where, values, Map.of(keys[i], where));
        }
        return node;
    }

    private static YamlNode value(String text, String where) {
        if (text.strip().equals("-")) { // the standard input; in YAML it would be a list of nothing
            return new YamlNode.Scalar(where, "-");
        }
        YamlNode node = YamlReader.parse(text, where);
        return node.isNull() ? new YamlNode.Reset(where) : node;
    }
}
