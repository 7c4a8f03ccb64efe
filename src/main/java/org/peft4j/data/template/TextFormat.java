package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** {@code "{} and {name.key[0]}".format(…)}. Of what may stand behind a colon only width, precision and kind of numbers. */
final class TextFormat {
    private static final Pattern SPECIFICATION =
            Pattern.compile("(?:(.)?([<>^]))?(0?)([0-9]{0,6})(?:\\.([0-9]{1,4}))?([sdf]?)", Pattern.DOTALL);
    private static final Pattern FIRST = Pattern.compile("[^.\\[]*");
    private static final Pattern REST = Pattern.compile("\\.([^.\\[]+)|\\[([^\\]]+)\\]");

    private final Args arguments;
    private final Budget budget;
    private int next;

    private TextFormat(Args arguments, Budget budget) {
        this.arguments = arguments;
        this.budget = budget;
    }

    static String format(String format, Args arguments, Budget budget) {
        return new TextFormat(arguments, budget).format(format);
    }

    private String format(String format) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            boolean doubled = i + 1 < format.length() && format.charAt(i + 1) == c;
            if (c == '{' && !doubled) {
                int end = format.indexOf('}', i);
                if (end < 0) {
                    throw TemplateError.fault("a format has '{' without '}'");
                }
                TextMethods.append(out, "", field(format.substring(i + 1, end)), budget);
                i = end;
            } else if (c == '}' && !doubled) {
                throw TemplateError.fault("a format has '}' without '{'");
            } else {
                out.append(c);
                i += c == '{' || c == '}' ? 1 : 0;
            }
        }
        return out.toString();
    }

    private String field(String field) {
        int colon = field.indexOf(':');
        String name = colon < 0 ? field : field.substring(0, colon);
        String specification = colon < 0 ? "" : field.substring(colon + 1);
        char conversion = ' ';
        int mark = name.indexOf('!');
        if (mark >= 0) {
            conversion = mark + 2 == name.length() ? name.charAt(mark + 1) : '?';
            name = name.substring(0, mark);
        }
        Object value = value(name);
        if (conversion == ' ') {
            return specification.isEmpty() ? Texts.of(value, budget) : specified(value, specification);
        }
        if (conversion != 's' && conversion != 'r') {
            throw TemplateError.unsupported("'!" + conversion + "' in a format");
        }
        String text = conversion == 's' ? Texts.of(value, budget) : Texts.repr(value, budget);
        return specification.isEmpty() ? text : specified(text, specification);
    }

    private @Nullable Object value(String name) {
        Matcher first = FIRST.matcher(name);
        first.lookingAt();
        Object value = first(first.group());
        Matcher rest = REST.matcher(name).region(first.end(), name.length());
        int at = first.end();
        while (rest.find() && rest.start() == at) {
            value = rest.group(1) != null
                    ? Access.attribute(value, rest.group(1), budget)
                    : Access.item(value, index(rest.group(2)), budget);
            at = rest.end();
        }
        if (at < name.length()) {
            throw TemplateError.fault("a format has a field that cannot be read: {" + name + "}");
        }
        return value;
    }

    private static Object index(String text) {
        return text.matches("[0-9]{1,9}") ? new BigInteger(text) : text;
    }

    private @Nullable Object first(String name) {
        if (!name.isEmpty() && !name.matches("[0-9]{1,9}")) {
            if (!arguments.named().containsKey(name)) {
                throw TemplateError.fault("a format has no value '" + name + "'");
            }
            return arguments.named().get(name);
        }
        int index = name.isEmpty() ? next++ : Integer.parseInt(name);
        if (!name.isEmpty() && next > 0) {
            throw TemplateError.fault("a format has fields with and without numbers");
        }
        if (index >= arguments.positional().size()) {
            throw TemplateError.fault("a format has more fields than values");
        }
        return arguments.positional().get(index);
    }

    private String specified(@Nullable Object value, String specification) {
        Matcher is = SPECIFICATION.matcher(specification);
        if (!is.matches() || !fits(value, is)) {
            throw TemplateError.unsupported(
                    "'" + specification + "' in a format for a value of type " + Types.name(value));
        }
        String kind = is.group(6);
        int width = is.group(4).isEmpty() ? 0 : Integer.parseInt(is.group(4));
        int precision = is.group(5) == null ? -1 : Integer.parseInt(is.group(5));
        String text = kind.equals("f")
                ? Printf.fixed(Arithmetic.toDouble(value), precision < 0 ? 6 : precision)
                : Texts.of(value, budget);
        if (Types.isText(value) && precision >= 0 && precision < PyText.length(text)) {
            text = PyText.between(text, 0, precision);
        }
        String align = is.group(2) != null ? is.group(2) : Types.isText(value) ? "<" : ">";
        String fill = is.group(1) != null ? is.group(1) : " ";
        if (!is.group(3).isEmpty() && is.group(2) == null) {
            int sign = text.startsWith("-") ? 1 : 0;
            return text.substring(0, sign) + TextMethods.pad(text.substring(sign), width - sign, "0", true, budget);
        }
        int missing = Math.max(0, width - PyText.length(text));
        return align.equals("^")
                ? fill.repeat(missing / 2) + text + fill.repeat(missing - missing / 2)
                : TextMethods.pad(text, width, fill, align.equals(">"), budget);
    }

    /** Whether it says of this value what we know how to do. */
    private static boolean fits(@Nullable Object value, Matcher is) {
        boolean zeros = !is.group(3).isEmpty();
        boolean precision = is.group(5) != null;
        return switch (is.group(6)) {
            case "f" -> value instanceof BigInteger || value instanceof Double;
            case "d" -> value instanceof BigInteger && !precision;
            case "s" -> Types.isText(value) && !zeros;
            default ->
                Types.isText(value) ? !zeros : (value instanceof BigInteger || value instanceof Double) && !precision;
        };
    }
}
