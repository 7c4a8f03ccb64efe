package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * {@code value.name}, {@code value[index]}, {@code value[start:stop:step]}. A name is a method first and a key second, an
 * index the other way round. Methods that would change a value are undefined, as in jinja2's immutable sandbox.
 */
final class Access {
    private static final Set<String> DICT_CHANGES = Set.of("clear", "pop", "popitem", "setdefault", "update");
    private static final Set<String> LIST_CHANGES =
            Set.of("append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove");
    private static final Set<String> INTEGER_ATTRIBUTES = Set.of(
            "real",
            "imag",
            "numerator",
            "denominator",
            "conjugate",
            "bit_length",
            "bit_count",
            "to_bytes",
            "from_bytes",
            "as_integer_ratio");
    private static final Set<String> FLOAT_ATTRIBUTES =
            Set.of("real", "imag", "conjugate", "is_integer", "hex", "fromhex", "as_integer_ratio");

    private Access() {}

    /** {@code value.name}. */
    static @Nullable Object attribute(@Nullable Object value, String name, Budget budget) {
        Object attribute = attributeAlone(value, name, budget);
        if (attribute != Frame.MISSING) {
            return attribute;
        }
        return value instanceof Dict dict && dict.has(name) ? dict.get(name) : Undefined.attribute(value, name);
    }

    /** {@code value[index]}. */
    static @Nullable Object item(@Nullable Object value, @Nullable Object index, Budget budget) {
        if (value instanceof Undefined missing) {
            throw missing.fault();
        }
        if (value instanceof Dict dict) {
            if (Keys.isHashable(index) && dict.has(index)) {
                return dict.get(index);
            }
        } else {
            BigInteger at = Types.integerOrNull(index);
            Integer size = at == null ? null : Sequences.lengthOrNull(value);
            if (at != null && size != null && !(value instanceof DictView) && !(value instanceof Loop)) {
                int i = Types.index(at);
                i = i < 0 ? i + size : i;
                if (i >= 0 && i < size) {
                    return at(value, i, budget);
                }
            }
        }
        if (index instanceof String name) {
            Object attribute = attributeAlone(value, name, budget);
            if (attribute != Frame.MISSING) {
                return attribute;
            }
        }
        return Undefined.attribute(value, index instanceof String ? index : Texts.repr(index, budget));
    }

    private static @Nullable Object at(@Nullable Object value, int index, Budget budget) {
        if (Types.isText(value)) {
            String text = Texts.plain(value);
            budget.text(text.length());
            return PyText.between(text, index, index + 1);
        }
        return list(value).get(index);
    }

    private static List<?> list(@Nullable Object value) {
        return value instanceof Tuple tuple
                ? tuple.items()
                : value instanceof Range range ? range.list() : (List<?>) value;
    }

    /** What {@code value} has under this name beside its keys; {@link Frame#MISSING} for nothing. */
    static @Nullable Object attributeAlone(@Nullable Object value, String name, Budget budget) {
        if (value instanceof Undefined missing) {
            throw missing.fault();
        }
        if (name.startsWith("__") && name.endsWith("__")) {
            return new Undefined("'" + name + "' is not for templates");
        }
        if (value instanceof Dict dict) {
            return DICT_CHANGES.contains(name) ? change(name, "dict") : CollectionMethods.of(dict, name, budget);
        }
        if (value instanceof String text) {
            return TextMethods.of(text, name, budget);
        }
        if (value instanceof Markup markup) {
            return TextMethods.of(markup, name, budget);
        }
        if (value instanceof List<?> list) {
            return LIST_CHANGES.contains(name) ? change(name, "list") : CollectionMethods.of(list, name, budget);
        }
        if (value instanceof Tuple tuple) {
            int field = tuple.fields().indexOf(name);
            return field >= 0 ? tuple.items().get(field) : CollectionMethods.of(tuple, name, budget);
        }
        if (value instanceof Namespace namespace) {
            return namespace.attributes().has(name) ? namespace.attributes().get(name) : Frame.MISSING;
        }
        if (value instanceof Loop loop) {
            return Loop.ATTRIBUTES.contains(name) ? loop.attribute(name) : Frame.MISSING;
        }
        if (value instanceof Helper helper) {
            return helper.attribute(name);
        }
        if (value instanceof Macro macro) {
            return switch (name) {
                case "name" -> macro.name();
                case "arguments", "catch_kwargs", "catch_varargs", "caller" -> unsupported(name, "a macro");
                default -> Frame.MISSING;
            };
        }
        if (((value instanceof BigInteger || value instanceof Boolean) && INTEGER_ATTRIBUTES.contains(name))
                || (value instanceof Double && FLOAT_ATTRIBUTES.contains(name))) {
            return unsupported(name, "a number");
        }
        return Frame.MISSING;
    }

    private static Undefined change(String name, String type) {
        return new Undefined(
                "'" + name + "' would change a " + type + ", which a template must not; build a new one with +");
    }

    private static Object unsupported(String name, String of) {
        throw TemplateError.unsupported("'" + name + "' of " + of);
    }

    /** {@code value[start:stop:step]} of a text, list, tuple or range. */
    static Object slice(
            @Nullable Object value,
            @Nullable Object start,
            @Nullable Object stop,
            @Nullable Object step,
            Budget budget) {
        if (value instanceof Undefined missing) {
            throw missing.fault();
        }
        if (!(Types.isText(value) || value instanceof List<?> || value instanceof Tuple || value instanceof Range)) {
            throw TemplateError.fault("a value of type " + Types.name(value) + " has no slices [:]");
        }
        int size = Sequences.length(value, budget);
        int by = step == null ? 1 : bound(step);
        if (by == 0) {
            throw TemplateError.fault("the step of a slice must not be 0");
        }
        int low = by > 0 ? 0 : -1;
        int high = by > 0 ? size : size - 1;
        int from = start == null ? (by > 0 ? low : high) : clamp(bound(start), size, low, high);
        int to = stop == null ? (by > 0 ? high : low) : clamp(bound(stop), size, low, high);
        if (value instanceof Range range) {
            return new Range(range.start() + from * range.step(), range.start() + to * range.step(), range.step() * by);
        }
        if (Types.isText(value)) {
            String text = textSlice(Texts.plain(value), from, to, by);
            return value instanceof Markup ? new Markup(text) : text;
        }
        List<@Nullable Object> all = new ArrayList<>();
        List<?> items = list(value);
        for (long i = from; by > 0 ? i < to : i > to; i += by) {
            budget.step();
            all.add(items.get((int) i));
        }
        return value instanceof Tuple ? new Tuple(all) : Collections.unmodifiableList(all);
    }

    private static int bound(@Nullable Object value) {
        return Types.index(
                value, () -> TemplateError.fault("bounds of a slice must be whole numbers, got " + Types.name(value)));
    }

    private static int clamp(int index, int size, int low, int high) {
        return Math.max(low, Math.min(high, index < 0 ? index + size : index));
    }

    private static String textSlice(String text, int from, int to, int by) {
        if (by == 1) {
            return from < to ? PyText.between(text, from, to) : "";
        }
        int[] points = text.codePoints().toArray();
        StringBuilder out = new StringBuilder();
        for (long i = from; by > 0 ? i < to : i > to; i += by) {
            out.appendCodePoint(points[(int) i]);
        }
        return out.toString();
    }

    /** The items of a sequence from behind; the sequence does not change. */
    static List<?> reversed(List<?> items) {
        return new AbstractList<>() {
            @Override
            public Object get(int index) {
                return items.get(items.size() - 1 - index);
            }

            @Override
            public int size() {
                return items.size();
            }
        };
    }
}
