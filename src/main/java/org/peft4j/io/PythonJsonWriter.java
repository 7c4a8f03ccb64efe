package org.peft4j.io;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Writes JSON exactly as Python's {@code json.dumps(value, indent=2, sort_keys=True)}: keys by code point, ASCII only,
 * floats as {@code repr} has them. So a config that only passes through us does not change by a byte.
 */
final class PythonJsonWriter {
    private final StringBuilder out = new StringBuilder();

    private PythonJsonWriter() {}

    static String write(@Nullable Object value) {
        PythonJsonWriter writer = new PythonJsonWriter();
        writer.value(value, "value", "\n");
        return writer.out.toString();
    }

    /**
     * @param where   the value's place, for messages
     * @param newline line break and indentation of the line on which the value began
     */
    private void value(@Nullable Object value, String where, String newline) {
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof CharSequence text) {
            PythonStrings.quote(out, text, true);
        } else if (value instanceof Integer
                || value instanceof Long
                || value instanceof Short
                || value instanceof Byte
                || value instanceof BigInteger) {
            out.append(value);
        } else if (value instanceof Double || value instanceof Float) {
            // through the text, so that 0.1f is written as 0.1
            out.append(number(Double.parseDouble(value.toString()), where));
        } else if (value instanceof Map<?, ?> map) {
            object(map, where, newline);
        } else if (value instanceof Collection<?> list) {
            array(list, where, newline);
        } else {
            throw new IllegalArgumentException(where + " must be a map, collection, text, number, boolean or null, got "
                    + value.getClass().getName());
        }
    }

    private void object(Map<?, ?> map, String where, String newline) {
        for (Object key : map.keySet()) {
            if (!(key instanceof String)) {
                throw new IllegalArgumentException(where + " must have texts as keys, got " + key);
            }
        }
        List<Map.Entry<?, ?>> entries = new ArrayList<>(map.entrySet());
        entries.sort((a, b) -> Arrays.compare(codePoints(a.getKey()), codePoints(b.getKey())));
        String inner = newline + "  ";
        String separator = "";
        out.append('{');
        for (Map.Entry<?, ?> entry : entries) {
            out.append(separator).append(inner);
            PythonStrings.quote(out, (String) entry.getKey(), true);
            out.append(": ");
            value(entry.getValue(), where + "." + entry.getKey(), inner);
            separator = ",";
        }
        out.append(entries.isEmpty() ? "" : newline).append('}');
    }

    private void array(Collection<?> list, String where, String newline) {
        String inner = newline + "  ";
        int index = 0;
        out.append('[');
        for (Iterator<?> i = list.iterator(); i.hasNext(); index++) {
            out.append(index == 0 ? "" : ",").append(inner);
            value(i.next(), where + "[" + index + "]", inner);
        }
        out.append(index == 0 ? "" : newline).append(']');
    }

    private static String number(double value, String where) {
        if (!Double.isFinite(value)) {
            throw new IllegalArgumentException(where + " must be a finite number, got " + value);
        }
        return PythonFloats.repr(value);
    }

    private static int[] codePoints(@Nullable Object key) {
        return String.valueOf(key).codePoints().toArray();
    }
}
