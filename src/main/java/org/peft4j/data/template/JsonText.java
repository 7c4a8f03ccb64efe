package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.PythonFloats;
import org.peft4j.io.PythonStrings;

/** {@code tojson} as transformers has it: Python's json.dumps, nothing escaped for HTML, letters as they are. */
final class JsonText {
    private final StringBuilder out = new StringBuilder();
    private final Budget budget;
    private final boolean ascii;
    private final boolean sorted;
    private final @Nullable String indent;
    private final String between;
    private final String behindKey;

    private JsonText(Args.Bound bound, Budget budget) {
        this.budget = budget;
        ascii = bound.isTrue("ensure_ascii");
        sorted = bound.isTrue("sort_keys");
        Object by = bound.get("indent", null);
        indent = by == null
                ? null
                : by instanceof String text ? text : " ".repeat(Math.max(0, Math.min(100, bound.integer("indent", 0))));
        Object separators = bound.get("separators", null);
        List<?> two = separators instanceof Tuple tuple
                ? tuple.items()
                : separators instanceof List<?> list ? list : List.of(indent == null ? ", " : ",", ": ");
        if (two.size() != 2
                || !(two.get(0) instanceof String first)
                || !(two.get(1) instanceof String second)
                || (separators != null && !(separators instanceof Tuple || separators instanceof List<?>))) {
            throw bound.must("separators", "two texts", separators);
        }
        between = first;
        behindKey = second;
    }

    static String write(@Nullable Object value, Args arguments, Budget budget) {
        JsonText json = new JsonText(arguments.bind("ensure_ascii", "indent", "separators", "sort_keys"), budget);
        json.value(value, 1);
        return json.out.toString();
    }

    private void value(@Nullable Object value, int depth) {
        budget.step();
        budget.enter();
        if (value == null) {
            out.append("null");
        } else if (value instanceof Boolean || value instanceof BigInteger) {
            out.append(value);
        } else if (value instanceof Double number) {
            out.append(number(number));
        } else if (Types.isText(value)) {
            quoted(Texts.plain(value));
        } else if (value instanceof List<?> list) {
            items(list, depth);
        } else if (value instanceof Tuple tuple) {
            items(tuple.items(), depth);
        } else if (value instanceof Dict dict) {
            pairs(dict, depth);
        } else {
            throw TemplateError.fault("tojson cannot write a value of type " + Types.name(value)
                    + (value instanceof Undefined missing ? ": " + missing.message() : ""));
        }
        budget.leave();
    }

    private static String number(double number) {
        return Double.isNaN(number)
                ? "NaN"
                : Double.isInfinite(number) ? (number > 0 ? "Infinity" : "-Infinity") : PythonFloats.repr(number);
    }

    private void items(List<?> items, int depth) {
        if (items.isEmpty()) {
            out.append("[]");
            return;
        }
        out.append('[');
        for (Iterator<?> i = items.iterator(); i.hasNext(); ) {
            newline(depth);
            value(i.next(), depth + 1);
            out.append(i.hasNext() ? between : "");
        }
        newline(depth - 1);
        out.append(']');
    }

    private void pairs(Dict dict, int depth) {
        List<@Nullable Object> keys = new ArrayList<>(dict.keys());
        if (keys.isEmpty()) {
            out.append("{}");
            return;
        }
        if (sorted) {
            keys.sort((a, b) -> Compare.order(a, b, "sort_keys", budget));
        }
        out.append('{');
        for (Iterator<@Nullable Object> i = keys.iterator(); i.hasNext(); ) {
            Object key = i.next();
            newline(depth);
            quoted(key(key));
            out.append(behindKey);
            value(dict.get(key), depth + 1);
            out.append(i.hasNext() ? between : "");
        }
        newline(depth - 1);
        out.append('}');
    }

    private static String key(@Nullable Object key) {
        if (Types.isText(key)) {
            return Texts.plain(key);
        }
        if (key == null || key instanceof Boolean || key instanceof BigInteger) {
            return String.valueOf(key);
        }
        if (key instanceof Double number) {
            return number(number);
        }
        throw TemplateError.fault("a key in JSON must be a text or number, got " + Types.name(key));
    }

    private void newline(int depth) {
        if (indent != null) {
            budget.text((long) indent.length() * depth);
            out.append('\n').append(indent.repeat(depth));
        }
        bounded();
    }

    private void quoted(String text) {
        budget.text(text.length());
        PythonStrings.quote(out, text, ascii);
        bounded();
    }

    /** Escapes make it longer than what was counted. */
    private void bounded() {
        if (out.length() > Budget.MAX_TEXT) {
            budget.text(out.length());
        }
    }
}
