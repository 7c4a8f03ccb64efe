package org.peft4j.data.template;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The names of one scope and their values, while it is rendered. */
final class Frame {
    /** The value of a name that has none. */
    static final Object MISSING = new Object();

    private final @Nullable Frame parent;
    private final Map<String, @Nullable Object> values = new HashMap<>();

    /**
     * Enters a scope.
     *
     * @param given what the template was given, by name
     */
    Frame(Scope scope, @Nullable Frame parent, Map<String, @Nullable Object> given) {
        this.parent = parent;
        scope.loads()
                .forEach((name, load) -> values.put(
                        name,
                        switch (load) {
                            case GIVEN -> given.getOrDefault(name, MISSING);
                            case OUTER -> parent == null ? MISSING : parent.find(name);
                            case PARAMETER, UNDEFINED -> MISSING;
                        }));
    }

    private @Nullable Object find(String name) {
        for (Frame frame = this; frame != null; frame = frame.parent) {
            Object value = frame.values.getOrDefault(name, null);
            if (value != null || frame.values.containsKey(name)) {
                return value;
            }
        }
        return MISSING;
    }

    @Nullable
    Object get(String name) {
        Object value = find(name);
        return value == MISSING ? Undefined.name(name) : value;
    }

    boolean isMissing(String name) {
        return find(name) == MISSING;
    }

    void set(String name, @Nullable Object value) {
        values.put(name, value);
    }
}
