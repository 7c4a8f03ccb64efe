package org.peft4j.io.yaml;

import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What {@link StrictYaml} has to know about records beyond their components: values of keys that may be left out, short
 * forms, choices between records, values that are no records. Immutable.
 */
public final class YamlSchema {
    /** How a type that is no record is read from, and written to, YAML values (strings, numbers, lists, maps). */
    public record Form<T>(Function<YamlNode, T> read, Function<T, @Nullable Object> write) {}

    /** Records that the value of the key {@code key} chooses in place of the usual one, to be changed by the keys beside it. */
    record Named(String key, Map<String, Record> records) {}

    /** A sealed type: the value of the key {@code key} says which record is meant. */
    record Choice(String key, Map<String, Class<? extends Record>> records) {
        Optional<String> nameOf(Class<?> type) {
            return records.entrySet().stream()
                    .filter(entry -> entry.getValue() == type)
                    .map(Map.Entry::getKey)
                    .findFirst();
        }
    }

    /** The most records of a choice that are named where a key is theirs. */
    private static final int MOST_OTHERS = 4;

    private static final YamlSchema EMPTY = builder().build();

    final Map<Class<?>, Map<String, Object>> defaults;
    final Map<Class<?>, String> scalarKeys;
    final Map<Class<?>, Choice> choices;
    final Map<Class<?>, Form<?>> forms;
    final Map<Class<?>, Map<String, String>> renamed;
    final Map<String, String> moved;
    final Set<Class<?>> flat;
    final Map<Class<?>, List<String>> alternatives;
    final Map<Class<?>, Map<String, Object>> formerNames;
    final Map<Class<?>, Named> named;

    private YamlSchema(Builder builder) {
        defaults = Map.copyOf(builder.defaults);
        scalarKeys = Map.copyOf(builder.scalarKeys);
        choices = Map.copyOf(builder.choices);
        forms = Map.copyOf(builder.forms);
        renamed = Map.copyOf(builder.renamed);
        moved = Collections.unmodifiableMap(new TreeMap<>(builder.moved));
        flat = Set.copyOf(builder.flat);
        alternatives = Map.copyOf(builder.alternatives);
        formerNames = Map.copyOf(builder.formerNames);
        named = Map.copyOf(builder.named);
    }

    /** A schema for records that need no more than their components. */
    public static YamlSchema empty() {
        return EMPTY;
    }

    public static Builder builder() {
        return new Builder();
    }

    /** The node, as {@code {key: value}} for a single value where the type has such a short form. */
    YamlNode spelledOut(Class<?> type, YamlNode node) {
        String key = scalarKeys.get(type);
        return node instanceof YamlNode.Scalar && key != null && !node.isNull()
                ? new YamlNode.Mapping(node.where(), Map.of(key, node), Map.of(key, node.where()))
                : node;
    }

    /** The keys of a record, those of flat records in it among them. */
    List<String> keys(Class<?> type) {
        return Arrays.stream(type.getRecordComponents())
                .flatMap(component -> flat.contains(component.getType())
                        ? keys(component.getType()).stream()
                        : Stream.of(snakeCase(component.getName())))
                .toList();
    }

    /** "it is a setting of sgd, muon, not of adamw": which other records of a choice have the key; empty: none, or most do. */
    String others(Class<?> type, String key) {
        for (Choice choice : choices.values()) {
            Optional<String> own = choice.nameOf(type);
            List<String> others = choice.records().entrySet().stream()
                    .filter(entry -> keys(entry.getValue()).contains(key))
                    .map(Map.Entry::getKey)
                    .toList();
            if (own.isPresent() && !others.isEmpty() && others.size() <= MOST_OTHERS) {
                return "it is a setting of " + String.join(", ", others) + ", not of " + own.get();
            }
        }
        return "";
    }

    /** {@code learningRate} → {@code learning_rate}. */
    static String snakeCase(String name) {
        return name.replaceAll("([a-z0-9])([A-Z])", "$1_$2").toLowerCase(Locale.ROOT);
    }

    /** The name of an enum constant in YAML: {@code SEQUENCE_CLASSIFICATION} → {@code sequence-classification}. */
    static String enumName(Object constant) {
        return ((Enum<?>) constant).name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    static Map<String, Object> enumNames(Class<?> type) {
        return Arrays.stream(type.getEnumConstants())
                .collect(Collectors.toMap(YamlSchema::enumName, Function.identity(), (a, b) -> a, LinkedHashMap::new));
    }

    /** Collects what a schema knows. */
    public static final class Builder {
        private final Map<Class<?>, Map<String, Object>> defaults = new HashMap<>();
        private final Map<Class<?>, String> scalarKeys = new HashMap<>();
        private final Map<Class<?>, Choice> choices = new HashMap<>();
        private final Map<Class<?>, Form<?>> forms = new HashMap<>();
        private final Map<Class<?>, Map<String, String>> renamed = new HashMap<>();
        private final Map<String, String> moved = new TreeMap<>();
        private final Set<Class<?>> flat = new HashSet<>();
        private final Map<Class<?>, List<String>> alternatives = new HashMap<>();
        private final Map<Class<?>, Map<String, Object>> formerNames = new HashMap<>();
        private final Map<Class<?>, Named> named = new HashMap<>();

        private Builder() {}

        /** The values of all keys that may be left out, taken from a whole record. */
        public Builder defaults(Record record) {
            defaults.put(record.getClass(), RecordTree.components(record));
            return this;
        }

        /** The values of some keys that may be left out; a key without one has to be given. */
        public Builder defaults(Class<? extends Record> type, Map<String, Object> values) {
            defaults.put(type, Map.copyOf(values));
            return this;
        }

        /** A single value where this record, or a choice of records, is expected stands for {@code {key: value}}. */
        public Builder scalarKey(Class<?> type, String key) {
            scalarKeys.put(type, key);
            return this;
        }

        /** Where {@code type} is expected, the value of {@code key} chooses one of the records. */
        public Builder choice(Class<?> type, String key, Map<String, Class<? extends Record>> records) {
            choices.put(type, new Choice(key, Collections.unmodifiableMap(new TreeMap<>(records))));
            return this;
        }

        public <T> Builder form(Class<T> type, Function<YamlNode, T> read, Function<T, @Nullable Object> write) {
            forms.put(type, new Form<>(read, write));
            return this;
        }

        /** An enum whose constants have names of their own in files. */
        public <E extends Enum<E>> Builder names(Class<E> type, Function<E, String> name) {
            Map<String, E> constants = Arrays.stream(type.getEnumConstants())
                    .collect(Collectors.toMap(name, Function.identity(), (a, b) -> a, LinkedHashMap::new));
            return form(type, node -> YamlValues.named(constants, node), name::apply);
        }

        /**
         * Keys of earlier files that stand elsewhere now, as paths from the file's top ({@code training.dtype} →
         * {@code model.dtype}). They are read as if they stood there.
         */
        public Builder moved(Map<String, String> newPaths) {
            moved.putAll(newPaths);
            return this;
        }

        /** Keys that other tools or older versions use; they are refused with the name used here. */
        public Builder renamed(Class<? extends Record> type, Map<String, String> newNames) {
            renamed.put(type, Map.copyOf(newNames));
            return this;
        }

        /** Where this record is a component of another one, its keys stand among those of that one. */
        public Builder flat(Class<? extends Record> type) {
            flat.add(type);
            return this;
        }

        /** Keys of a record of which one is given: where one of them is, the others have no default. */
        public Builder alternatives(Class<? extends Record> type, String... keys) {
            alternatives.put(type, List.of(keys));
            return this;
        }

        /** What an enum's constants were called in earlier files; they are read as before. */
        public <E extends Enum<E>> Builder formerNames(Class<E> type, Map<String, E> names) {
            formerNames.put(type, Map.copyOf(names));
            return this;
        }

        /**
         * A key whose value chooses a record that gives the values of all keys that are left out. It is read alone: written are all
         * keys.
         */
        public Builder named(Class<? extends Record> type, String key, Map<String, ? extends Record> records) {
            named.put(type, new Named(key, Collections.unmodifiableMap(new LinkedHashMap<>(records))));
            return this;
        }

        public YamlSchema build() {
            return new YamlSchema(this);
        }
    }
}
