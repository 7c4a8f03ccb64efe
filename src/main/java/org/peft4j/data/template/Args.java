package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The arguments of a call: of a function, a method, a filter or a test. */
record Args(String function, List<@Nullable Object> positional, Map<String, @Nullable Object> named) {
    /** Arguments that were matched with the names of parameters. */
    static final class Bound {
        private final String function;
        private final Map<String, @Nullable Object> values;

        private Bound(String function, Map<String, @Nullable Object> values) {
            this.function = function;
            this.values = values;
        }

        boolean has(String name) {
            return values.containsKey(name);
        }

        /** An argument that has to be there. */
        @Nullable
        Object get(String name) {
            if (!has(name)) {
                throw TemplateError.fault(function + " needs an argument '" + name + "'");
            }
            return values.get(name);
        }

        @Nullable
        Object get(String name, @Nullable Object absent) {
            return values.getOrDefault(name, absent);
        }

        boolean isTrue(String name) {
            return has(name) && Types.isTrue(values.get(name));
        }

        String text(String name) {
            return text(name, get(name));
        }

        String text(String name, String absent) {
            return has(name) ? text(name, values.get(name)) : absent;
        }

        private String text(String name, @Nullable Object value) {
            if (value instanceof String text) {
                return text;
            }
            throw must(name, "a text", value);
        }

        int integer(String name, int absent) {
            return has(name)
                    ? Types.index(values.get(name), () -> must(name, "a whole number", values.get(name)))
                    : absent;
        }

        TemplateError must(String name, String be, @Nullable Object value) {
            return TemplateError.fault(
                    "argument '" + name + "' of " + function + " must be " + be + ", got " + Types.name(value));
        }
    }

    static Args of(String function, @Nullable Object... positional) {
        return new Args(function, new ArrayList<>(Arrays.asList(positional)), Map.of());
    }

    /** Matches them with parameters of these names, in this order. */
    Bound bind(String... names) {
        if (positional.size() > names.length) {
            throw TemplateError.fault(
                    function + " takes at most " + names.length + " arguments, got " + positional.size());
        }
        Map<String, @Nullable Object> values = new LinkedHashMap<>();
        for (int i = 0; i < positional.size(); i++) {
            values.put(names[i], positional.get(i));
        }
        named.forEach((name, value) -> {
            if (!Arrays.asList(names).contains(name) || values.containsKey(name)) {
                throw TemplateError.fault(function + (values.containsKey(name) ? " got two values for" : " has no")
                        + " argument '" + name + "'");
            }
            values.put(name, value);
        });
        return new Bound(function, values);
    }

    /** Without the first one. */
    Args rest() {
        return new Args(function, positional.subList(1, positional.size()), named);
    }

    Args withName(String other) {
        return new Args(other, positional, named);
    }

    static BigInteger number(long value) {
        return BigInteger.valueOf(value);
    }
}
