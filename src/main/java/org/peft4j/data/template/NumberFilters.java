package org.peft4j.data.template;

import static java.util.Map.entry;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Filters that make numbers. */
final class NumberFilters {
    static final Map<String, Filters.Filter> ALL = Map.ofEntries(
            entry("abs", NumberFilters::abs),
            entry("float", NumberFilters::toFloat),
            entry("int", NumberFilters::toInteger),
            entry("round", NumberFilters::round));

    private static final Pattern FLOAT =
            Pattern.compile("[-+]?(?:[0-9][0-9_]*\\.?[0-9_]*|\\.[0-9][0-9_]*)(?:[eE][-+]?[0-9][0-9_]*)?");

    private NumberFilters() {}

    private static Object abs(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        BigInteger whole = Types.integerOrNull(input);
        if (whole != null) {
            return whole.abs();
        }
        if (input instanceof Double number) {
            return Math.abs(number);
        }
        throw input instanceof Undefined missing
                ? missing.fault()
                : TemplateError.fault("filter 'abs' needs a number, got " + Types.name(input));
    }

    private static @Nullable Object toFloat(@Nullable Object input, Args arguments, Filters all) {
        Object otherwise = arguments.bind("default").get("default", 0.0);
        if (input instanceof Undefined missing) {
            throw missing.fault();
        }
        if (Types.isNumber(input)) {
            return Arithmetic.toDouble(input);
        }
        Double parsed = input instanceof String text ? parse(text) : null;
        return parsed == null ? otherwise : parsed;
    }

    private static @Nullable Double parse(String text) {
        String number = PyText.strip(text, PyText::isSpace, true, true);
        String bare = number.toLowerCase(Locale.ROOT).replaceFirst("^[-+]", "");
        double sign = number.startsWith("-") ? -1 : 1;
        if (bare.equals("inf") || bare.equals("infinity")) {
            return sign * Double.POSITIVE_INFINITY;
        }
        if (bare.equals("nan")) {
            return Double.NaN;
        }
        boolean is = number.length() <= 1000
                && FLOAT.matcher(number).matches()
                && !number.contains("__")
                && !number.contains("_.")
                && !number.contains("._")
                && !number.endsWith("_")
                && !bare.contains("_e");
        return is ? Double.valueOf(number.replace("_", "")) : null;
    }

    private static @Nullable Object toInteger(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("default", "base");
        Object otherwise = bound.get("default", BigInteger.ZERO);
        if (input instanceof Undefined missing) {
            throw missing.fault();
        }
        BigInteger whole = Types.integerOrNull(input);
        if (whole != null) {
            return whole;
        }
        if (input instanceof Double number) {
            return Double.isNaN(number) ? otherwise : truncated(number, "infinity is no whole number");
        }
        if (!(input instanceof String text)) {
            return otherwise;
        }
        BigInteger parsed = parse(text, bound.integer("base", 10));
        if (parsed != null) {
            return parsed;
        }
        Double number = parse(text);
        return number == null || !Double.isFinite(number) ? otherwise : truncated(number, "");
    }

    private static BigInteger truncated(double number, String otherwise) {
        if (Double.isInfinite(number)) {
            throw TemplateError.fault(otherwise);
        }
        return new BigDecimal(number).toBigInteger();
    }

    private static @Nullable BigInteger parse(String text, int base) {
        if (base != 0 && (base < 2 || base > 36)) {
            throw TemplateError.fault("a base must be from 2 to 36, got " + base);
        }
        String number = PyText.strip(text, PyText::isSpace, true, true).toLowerCase(Locale.ROOT);
        String digits = number.replaceFirst("^[-+]", "");
        int radix = base;
        Map<String, Integer> prefixes = Map.of("0x", 16, "0o", 8, "0b", 2);
        Integer prefix = digits.length() > 2 ? prefixes.get(digits.substring(0, 2)) : null;
        if (prefix != null && (base == 0 || base == prefix)) {
            radix = prefix;
            digits = digits.substring(2);
            digits = digits.startsWith("_") ? digits.substring(1) : digits;
        } else if (base == 0) {
            radix = 10;
            if (digits.matches("0[0-9_]*[1-9][0-9_]*")) {
                return null;
            }
        }
        if (digits.length() > 1000 || !digits.matches("[0-9a-z]+(?:[0-9a-z_]*[0-9a-z])?") || digits.contains("__")) {
            return null;
        }
        try {
            BigInteger value = new BigInteger(digits.replace("_", ""), radix);
            return number.startsWith("-") ? value.negate() : value;
        } catch (NumberFormatException e) {
            return null;
        }
    }

    private static Object round(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("precision", "method");
        int precision = bound.integer("precision", 0);
        String method = bound.text("method", "common");
        if (!Types.isNumber(input)) {
            throw input instanceof Undefined missing
                    ? missing.fault()
                    : TemplateError.fault("filter 'round' needs a number, got " + Types.name(input));
        }
        if (Math.abs((long) precision) > 300) {
            throw TemplateError.fault("a precision must be from -300 to 300, got " + precision);
        }
        BigInteger whole = Types.integerOrNull(input);
        switch (method) {
            case "common" -> {
                BigDecimal exact = whole != null ? new BigDecimal(whole) : finite((Double) input);
                if (exact == null) {
                    return input;
                }
                if (whole != null && precision >= 0) {
                    return whole;
                }
                BigDecimal rounded = exact.setScale(precision, RoundingMode.HALF_EVEN);
                return whole != null ? rounded.toBigInteger() : (Object) signed(rounded.doubleValue(), (Double) input);
            }
            case "ceil", "floor" -> {
                Object scale = Arithmetic.binary(BigInteger.TEN, "**", Args.number(precision), all.budget());
                double scaled = Arithmetic.toDouble(Arithmetic.binary(input, "*", scale, all.budget()));
                BigDecimal finite = finite(scaled);
                if (finite == null) {
                    throw TemplateError.fault("filter 'round' needs a finite number");
                }
                BigInteger rounded = finite.setScale(
                                0, method.equals("ceil") ? RoundingMode.CEILING : RoundingMode.FLOOR)
                        .toBigInteger();
                return Arithmetic.binary(rounded, "/", scale, all.budget());
            }
            default ->
                throw TemplateError.fault("a method of rounding must be common, ceil or floor, got '" + method + "'");
        }
    }

    private static double signed(double rounded, double input) {
        return rounded == 0 ? Math.copySign(0, input) : rounded;
    }

    private static @Nullable BigDecimal finite(double number) {
        return Double.isFinite(number) ? new BigDecimal(number) : null;
    }
}
