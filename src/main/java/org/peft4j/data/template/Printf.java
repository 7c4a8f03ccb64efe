package org.peft4j.data.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** {@code "%s: %05.1f" % (a, b)}. */
final class Printf {
    private static final Pattern FIELD = Pattern.compile(
            "%(?:\\(([^)]*)\\))?([-+ 0#]*)([0-9]{0,6}|\\*)(?:\\.([0-9]{0,6}|\\*))?[hlL]?(.)?", Pattern.DOTALL);

    private final Budget budget;
    private final @Nullable Object values;
    private final Iterator<@Nullable Object> next;

    private Printf(@Nullable Object values, Budget budget) {
        this.budget = budget;
        this.values = values;
        this.next = values instanceof Tuple tuple
                ? tuple.items().iterator()
                : Collections.singletonList(values).iterator();
    }

    static String format(String format, @Nullable Object values, Budget budget) {
        budget.text(format.length());
        return new Printf(values, budget).format(format);
    }

    private String format(String format) {
        StringBuilder out = new StringBuilder();
        Matcher field = FIELD.matcher(format);
        int begin = 0;
        boolean named = false;
        while (field.find(begin)) {
            out.append(format, begin, field.start());
            begin = field.end();
            if (field.group(5) == null) {
                throw TemplateError.fault("a format ends inside of a field");
            }
            named |= field.group(1) != null;
            String text = field.group(5).equals("%") ? "%" : one(field);
            TextMethods.append(out, "", text, budget);
        }
        boolean mayBeLeft = values instanceof Dict || values instanceof List<?> || values instanceof Undefined;
        if (next.hasNext() && !named && !mayBeLeft) {
            throw TemplateError.fault("a format has fewer fields than values");
        }
        return out.append(format, begin, format.length()).toString();
    }

    private String one(Matcher field) {
        if (field.group(3).equals("*") || "*".equals(field.group(4))) {
            throw TemplateError.unsupported("'*' in a format");
        }
        Object value = value(field.group(1));
        String flags = field.group(2);
        if (flags.contains("#")) {
            throw TemplateError.unsupported("'#' in a format");
        }
        int width = field.group(3).isEmpty() ? 0 : Integer.parseInt(field.group(3));
        int precision = field.group(4) == null ? -1 : field.group(4).isEmpty() ? 0 : Integer.parseInt(field.group(4));
        char kind = field.group(5).charAt(0);
        boolean isText = "sr".indexOf(kind) >= 0;
        String text = isText
                ? text(kind == 's' ? Texts.of(value, budget) : Texts.repr(value, budget), precision)
                : number(kind, value, precision);
        if (!isText) {
            text = text.startsWith("-")
                    ? text
                    : flags.contains("+") ? "+" + text : flags.contains(" ") ? " " + text : text;
        }
        if (flags.contains("-")) {
            return TextMethods.pad(text, width, " ", false, budget);
        }
        if (!isText && flags.contains("0") && text.length() < width) {
            int sign = "+- ".indexOf(text.charAt(0)) >= 0 ? 1 : 0;
            return text.substring(0, sign) + TextMethods.pad(text.substring(sign), width - sign, "0", true, budget);
        }
        return TextMethods.pad(text, width, " ", true, budget);
    }

    private @Nullable Object value(@Nullable String name) {
        if (name != null) {
            if (!(values instanceof Dict dict) || !dict.has(name)) {
                throw TemplateError.fault("a format has no value '" + name + "'");
            }
            return dict.get(name);
        }
        if (!next.hasNext()) {
            throw TemplateError.fault("a format has more fields than values");
        }
        return next.next();
    }

    private static String text(String text, int precision) {
        return precision < 0 || precision >= PyText.length(text) ? text : PyText.between(text, 0, precision);
    }

    private static String number(char kind, @Nullable Object value, int precision) {
        if (!Types.isNumber(value)) {
            throw TemplateError.fault("%" + kind + " needs a number, got " + Types.name(value));
        }
        return switch (kind) {
            case 'd', 'i', 'u' -> digits(whole(value), 10, precision);
            case 'x', 'o' -> {
                if (value instanceof Double) {
                    throw TemplateError.fault("%" + kind + " needs a whole number, got float");
                }
                yield digits(whole(value), kind == 'x' ? 16 : 8, precision);
            }
            case 'f', 'F' -> fixed(Arithmetic.toDouble(value), precision < 0 ? 6 : precision);
            default -> throw TemplateError.unsupported("%" + kind + " in a format");
        };
    }

    private static BigInteger whole(@Nullable Object value) {
        BigInteger whole = Types.integerOrNull(value);
        if (whole != null) {
            return whole;
        }
        double number = Arithmetic.toDouble(value);
        if (!Double.isFinite(number)) {
            throw TemplateError.fault("a float that is not finite is no whole number");
        }
        return new BigDecimal(number).toBigInteger();
    }

    private static String digits(BigInteger number, int base, int precision) {
        String digits = number.abs().toString(base);
        return (number.signum() < 0 ? "-" : "") + "0".repeat(Math.max(0, precision - digits.length())) + digits;
    }

    /** A number with so many digits behind the point, rounded as it is, half to even. */
    static String fixed(double number, int precision) {
        if (!Double.isFinite(number)) {
            return Double.isNaN(number) ? "nan" : number > 0 ? "inf" : "-inf";
        }
        String digits = new BigDecimal(Math.abs(number))
                .setScale(Math.min(precision, 10_000), RoundingMode.HALF_EVEN)
                .toPlainString();
        return (Math.copySign(1, number) < 0 ? "-" : "") + digits;
    }
}
