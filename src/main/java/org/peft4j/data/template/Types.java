package org.peft4j.data.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The kinds of values in a template. null is None; {@link BigInteger} and {@link Double} are the numbers; a {@link List}
 * that cannot be changed, {@link Tuple}, {@link Dict}, {@link String} are what their names say. There is nothing else of
 * Java in a template, so nothing of Java can be reached from one.
 */
final class Types {
    private static final int MAX_NESTING = 200;

    private record Kind(Class<?> type, String name) {}

    private static final List<Kind> KINDS = List.of(
            new Kind(Undefined.class, "undefined"),
            new Kind(Boolean.class, "boolean"),
            new Kind(BigInteger.class, "integer"),
            new Kind(Double.class, "float"),
            new Kind(String.class, "string"),
            new Kind(Markup.class, "string"),
            new Kind(List.class, "list"),
            new Kind(Tuple.class, "tuple"),
            new Kind(Dict.class, "dict"),
            new Kind(DictView.class, "dict view"),
            new Kind(Range.class, "range"),
            new Kind(Generator.class, "generator"),
            new Kind(Namespace.class, "namespace"),
            new Kind(Loop.class, "loop"),
            new Kind(Helper.class, "helper"),
            new Kind(Callable.class, "function"));

    private Types() {}

    /**
     * What a template sees of a value of JSON.
     *
     * @throws IllegalArgumentException if it is anything else than a map, list, text, number, boolean or null
     */
    static @Nullable Object of(@Nullable Object json) {
        return of(json, 0);
    }

    private static @Nullable Object of(@Nullable Object json, int depth) {
        if (depth > MAX_NESTING) {
            throw new IllegalArgumentException("values are nested more than " + MAX_NESTING + " deep");
        }
        if (json == null || json instanceof String || json instanceof Boolean || json instanceof BigInteger) {
            return json;
        }
        if (json instanceof Integer || json instanceof Long || json instanceof Short || json instanceof Byte) {
            return BigInteger.valueOf(((Number) json).longValue());
        }
        if (json instanceof Double || json instanceof Float || json instanceof BigDecimal) {
            return Double.valueOf(json.toString()); // through the text, so that 0.1f is 0.1
        }
        if (json instanceof Map<?, ?> map) {
            Dict dict = new Dict();
            map.forEach((key, value) -> {
                if (!(key instanceof String)) {
                    throw new IllegalArgumentException("a map must have texts as keys, got " + key);
                }
                dict.put(key, of(value, depth + 1));
            });
            return dict;
        }
        if (json instanceof List<?> list) {
            List<@Nullable Object> all = new ArrayList<>(list.size());
            list.forEach(item -> all.add(of(item, depth + 1)));
            return Collections.unmodifiableList(all);
        }
        throw new IllegalArgumentException("a value must be a map, list, text, number, boolean or null, got "
                + json.getClass().getName());
    }

    /** The kind of a value, for messages. */
    static String name(@Nullable Object value) {
        if (value == null) {
            return "none";
        }
        return KINDS.stream()
                .filter(kind -> kind.type().isInstance(value))
                .map(Kind::name)
                .findFirst()
                .orElseThrow(() -> new AssertionError(value.getClass()));
    }

    static boolean isTrue(@Nullable Object value) {
        if (value == null || value instanceof Undefined) {
            return false;
        }
        if (value instanceof Boolean truth) {
            return truth;
        }
        if (value instanceof BigInteger number) {
            return number.signum() != 0;
        }
        if (value instanceof Double number) {
            return number != 0;
        }
        Integer length = Sequences.lengthOrNull(value);
        return length == null || length > 0;
    }

    static boolean isText(@Nullable Object value) {
        return value instanceof String || value instanceof Markup;
    }

    static boolean isNumber(@Nullable Object value) {
        return value instanceof BigInteger || value instanceof Double || value instanceof Boolean;
    }

    /** A whole number, also one that is true or false; null for what is none. */
    static @Nullable BigInteger integerOrNull(@Nullable Object value) {
        return value instanceof BigInteger number
                ? number
                : value instanceof Boolean truth ? (truth ? BigInteger.ONE : BigInteger.ZERO) : null;
    }

    /** A whole number as an int; far beyond all lengths where it is larger than that. */
    static int index(@Nullable Object value, Supplier<TemplateError> otherwise) {
        BigInteger number = integerOrNull(value);
        if (number == null) {
            throw otherwise.get();
        }
        return index(number);
    }

    /** The same for what is known to be one. */
    static int index(BigInteger number) {
        int far = Integer.MAX_VALUE / 2;
        return number.bitLength() > 30 ? (number.signum() < 0 ? -far : far) : number.intValue();
    }
}
