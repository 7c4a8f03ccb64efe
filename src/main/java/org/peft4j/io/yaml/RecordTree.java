package org.peft4j.io.yaml;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Turns records back into the maps, lists and values that {@link StrictYaml} would read them from. */
final class RecordTree {
    private final YamlSchema schema;

    RecordTree(YamlSchema schema) {
        this.schema = schema;
    }

    Map<String, Object> map(Record record) {
        Map<String, Object> map = new LinkedHashMap<>();
        schema.choices
                .values()
                .forEach(choice -> choice.nameOf(record.getClass()).ifPresent(name -> map.put(choice.key(), name)));
        components(record).forEach((key, value) -> {
            if (value instanceof Record nested && schema.flat.contains(nested.getClass())) {
                map.putAll(map(nested));
            } else {
                map.put(key, value(value));
            }
        });
        return map;
    }

    private @Nullable Object value(@Nullable Object value) {
        if (value == null) {
            return null;
        }
        for (Map.Entry<Class<?>, YamlSchema.Form<?>> form : schema.forms.entrySet()) {
            if (form.getKey().isInstance(value)) {
                @SuppressWarnings("unchecked") // the key of the map is the form's type
                Function<Object, @Nullable Object> write =
                        (Function<Object, @Nullable Object>) form.getValue().write();
                return write.apply(value);
            }
        }
        if (value instanceof Record record) {
            return map(record);
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> copy = new LinkedHashMap<>();
            map.forEach((key, item) -> copy.put(String.valueOf(key), value(item)));
            return copy;
        }
        if (value instanceof Collection<?> list) {
            return list.stream().map(this::value).toList();
        }
        if (value instanceof Enum<?>) {
            return YamlSchema.enumName(value);
        }
        return value instanceof Path path ? path.toString() : value;
    }

    /** The components of a record by their YAML names, in order. */
    static Map<String, Object> components(Record record) {
        Map<String, Object> values = new LinkedHashMap<>();
        for (RecordComponent component : record.getClass().getRecordComponents()) {
            try {
                values.put(
                        YamlSchema.snakeCase(component.getName()),
                        component.getAccessor().invoke(record));
            } catch (IllegalAccessException | InvocationTargetException e) {
                throw new IllegalStateException(record.getClass() + " has to be public, with public components", e);
            }
        }
        return values;
    }
}
