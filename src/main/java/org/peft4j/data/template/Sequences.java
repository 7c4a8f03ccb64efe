package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What has a length, what can be gone through, what is in it. */
final class Sequences {
    private Sequences() {}

    /** The length of what has one. */
    static @Nullable Integer lengthOrNull(@Nullable Object value) {
        if (Types.isText(value)) {
            return PyText.length(Texts.plain(value));
        }
        if (value instanceof List<?> list) {
            return list.size();
        }
        if (value instanceof Tuple tuple) {
            return tuple.items().size();
        }
        if (value instanceof Dict dict) {
            return dict.size();
        }
        if (value instanceof DictView view) {
            return view.dict().size();
        }
        if (value instanceof Range range) {
            return range.size();
        }
        if (value instanceof Loop loop) {
            return loop.length();
        }
        return value instanceof Undefined ? 0 : null;
    }

    static int length(@Nullable Object value, Budget budget) {
        if (value instanceof String text) {
            budget.text(text.length());
        }
        Integer length = lengthOrNull(value);
        if (length == null) {
            throw TemplateError.fault("a value of type " + Types.name(value) + " has no length");
        }
        return length;
    }

    static boolean isIterable(@Nullable Object value) {
        return value instanceof Generator || lengthOrNull(value) != null;
    }

    /** Goes through a value: letters, items, or keys. */
    static Iterator<@Nullable Object> iterate(@Nullable Object value, Budget budget) {
        if (value instanceof Generator generator) {
            return generator.items();
        }
        List<@Nullable Object> list = listOrNull(value, budget);
        if (list == null) {
            throw TemplateError.fault("a value of type " + Types.name(value) + " cannot be gone through");
        }
        return list.iterator();
    }

    private static @Nullable List<@Nullable Object> listOrNull(@Nullable Object value, Budget budget) {
        if (value instanceof String text) {
            budget.steps(text.length());
            return PyText.characters(text);
        }
        if (value instanceof Markup markup) {
            return listOrNull(markup.text(), budget);
        }
        if (value instanceof List<?> list) {
            return Collections.unmodifiableList(list);
        }
        if (value instanceof Tuple tuple) {
            return tuple.items();
        }
        if (value instanceof Dict dict) {
            budget.steps(dict.size());
            return dict.keys();
        }
        if (value instanceof DictView view) {
            budget.steps(view.dict().size());
            return view.list();
        }
        if (value instanceof Range range) {
            return Collections.unmodifiableList(range.list());
        }
        return value instanceof Undefined ? List.of() : null;
    }

    /** All that comes, as a new list. */
    static List<@Nullable Object> list(@Nullable Object value, Budget budget) {
        List<@Nullable Object> all = new ArrayList<>();
        iterate(value, budget).forEachRemaining(item -> {
            budget.step();
            all.add(item);
        });
        return all;
    }

    /** {@code item in value}. */
    static boolean has(@Nullable Object value, @Nullable Object item, Budget budget) {
        if (Types.isText(value)) {
            if (!Types.isText(item)) {
                throw TemplateError.fault(
                        "'in' asks a string, so for a string, got a value of type " + Types.name(item));
            }
            String text = Texts.plain(value);
            budget.search(text.length(), Texts.plain(item).length());
            return text.contains(Texts.plain(item));
        }
        if (value instanceof Dict dict) {
            return dict.has(item);
        }
        if (value instanceof DictView view && view.kind() == DictView.Kind.KEYS) {
            return view.dict().has(item);
        }
        BigInteger whole = Types.integerOrNull(item);
        if (value instanceof Range range && whole != null) {
            return range.has(whole);
        }
        for (Iterator<@Nullable Object> items = iterate(value, budget); items.hasNext(); ) {
            budget.step();
            if (Compare.equal(items.next(), item, budget)) {
                return true;
            }
        }
        return false;
    }
}
