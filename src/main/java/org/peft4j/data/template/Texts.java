package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.PythonFloats;

/** Values as texts: what is printed, and Python's {@code repr} for what stands in lists. */
final class Texts {
    private Texts() {}

    /** Python's str(). */
    static String of(@Nullable Object value, Budget budget) {
        if (value instanceof String text) {
            return text;
        }
        if (value instanceof Markup markup) {
            return markup.text();
        }
        if (value instanceof Undefined) {
            return "";
        }
        StringBuilder out = new StringBuilder();
        repr(value, out, budget);
        return out.toString();
    }

    static String repr(@Nullable Object value, Budget budget) {
        StringBuilder out = new StringBuilder();
        repr(value, out, budget);
        return out.toString();
    }

    /** The text of a String or {@link Markup}. */
    static String plain(@Nullable Object text) {
        return text instanceof Markup markup ? markup.text() : String.valueOf(text);
    }

    private static void repr(@Nullable Object value, StringBuilder out, Budget budget) {
        budget.step();
        if (value == null) {
            out.append("None");
        } else if (value instanceof Boolean truth) {
            out.append(truth ? "True" : "False");
        } else if (value instanceof BigInteger) {
            out.append(value);
        } else if (value instanceof Double number) {
            out.append(PythonFloats.repr(number));
        } else if (value instanceof String text) {
            quoted(text, out);
        } else if (value instanceof Markup markup) {
            quoted(markup.text(), out.append("Markup("));
            out.append(')');
        } else if (value instanceof Undefined) {
            out.append("Undefined");
        } else if (value instanceof List<?> list) {
            items(list, out.append('['), budget);
            out.append(']');
        } else if (value instanceof Tuple tuple) {
            items(tuple.items(), out.append('('), budget);
            out.append(tuple.items().size() == 1 ? ",)" : ")");
        } else if (value instanceof Dict dict) {
            pairs(dict, out, budget);
        } else if (value instanceof DictView view) {
            String kind = view.kind().name().toLowerCase(Locale.ROOT);
            items(view.list(), out.append("dict_").append(kind).append("(["), budget);
            out.append("])");
        } else if (value instanceof Range range) {
            out.append("range(").append(range.start()).append(", ").append(range.stop());
            out.append(range.step() == 1 ? "" : ", " + range.step()).append(')');
        } else if (value instanceof Namespace namespace) {
            pairs(namespace.attributes(), out.append("<Namespace "), budget);
            out.append('>');
        } else {
            throw TemplateError.unsupported("printing a value of type " + Types.name(value));
        }
        budget.text(out.length());
    }

    private static void items(List<?> items, StringBuilder out, Budget budget) {
        budget.enter();
        for (Iterator<?> i = items.iterator(); i.hasNext(); ) {
            repr(i.next(), out, budget);
            out.append(i.hasNext() ? ", " : "");
        }
        budget.leave();
    }

    private static void pairs(Dict dict, StringBuilder out, Budget budget) {
        budget.enter();
        String separator = "{";
        for (Object key : dict.keys()) {
            repr(key, out.append(separator), budget);
            repr(dict.get(key), out.append(": "), budget);
            separator = ", ";
        }
        out.append(dict.size() == 0 ? "{}" : "}");
        budget.leave();
    }

    private static void quoted(String text, StringBuilder out) {
        char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
        out.append(quote);
        text.codePoints().forEach(c -> {
            switch (c) {
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                case '\\' -> out.append("\\\\");
                default -> {
                    if (c == quote) {
                        out.append('\\').append(quote);
                    } else if (isPrintable(c)) {
                        out.appendCodePoint(c);
                    } else {
                        out.append(String.format(c <= 0xff ? "\\x%02x" : c <= 0xffff ? "\\u%04x" : "\\U%08x", c));
                    }
                }
            }
        });
        out.append(quote);
    }

    private static boolean isPrintable(int c) {
        return c == ' '
                || switch (Character.getType(c)) {
                    case Character.CONTROL,
                            Character.FORMAT,
                            Character.SURROGATE,
                            Character.PRIVATE_USE,
                            Character.UNASSIGNED,
                            Character.LINE_SEPARATOR,
                            Character.PARAGRAPH_SEPARATOR,
                            Character.SPACE_SEPARATOR -> false;
                    default -> true;
                };
    }
}
