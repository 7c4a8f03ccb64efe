package org.peft4j.data.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The operators, as Python has them for numbers, texts and lists. */
final class Arithmetic {
    private Arithmetic() {}

    static @Nullable Object binary(@Nullable Object a, String operator, @Nullable Object b, Budget budget) {
        if (a instanceof Undefined missing) {
            throw missing.fault();
        }
        if (operator.equals("%") && a instanceof Markup) {
            throw TemplateError.unsupported("'%' of a text behind |safe or |escape");
        }
        if (operator.equals("%") && a instanceof String) {
            return Printf.format(Texts.plain(a), b, budget);
        }
        if (b instanceof Undefined missing) {
            throw missing.fault();
        }
        if (Types.isNumber(a) && Types.isNumber(b)) {
            BigInteger x = Types.integerOrNull(a);
            BigInteger y = Types.integerOrNull(b);
            return x != null && y != null ? integers(x, operator, y) : floats(toDouble(a), operator, toDouble(b));
        }
        if (operator.equals("+")) {
            Object joined = add(a, b, budget);
            if (joined != null) {
                return joined;
            }
        }
        if (operator.equals("*")) {
            Object repeated = Types.integerOrNull(b) != null ? repeat(a, b, budget) : repeat(b, a, budget);
            if (repeated != null) {
                return repeated;
            }
        }
        throw TemplateError.fault("'" + operator + "' cannot be used for " + Types.name(a) + " and " + Types.name(b));
    }

    static Object unary(String operator, @Nullable Object value) {
        if (value instanceof Undefined missing) {
            throw missing.fault();
        }
        BigInteger whole = Types.integerOrNull(value);
        if (whole != null) {
            return operator.equals("-") ? whole.negate() : whole;
        }
        if (value instanceof Double number) {
            return operator.equals("-") ? (Double) (-number) : number;
        }
        throw TemplateError.fault("'" + operator + "' cannot be used for " + Types.name(value));
    }

    private static @Nullable Object add(@Nullable Object a, @Nullable Object b, Budget budget) {
        if (Types.isText(a) && Types.isText(b)) {
            budget.text((long) Texts.plain(a).length() + Texts.plain(b).length());
            if (a instanceof Markup || b instanceof Markup) {
                return new Markup(escaped(a) + escaped(b));
            }
            return Texts.plain(a) + Texts.plain(b);
        }
        if (a instanceof List<?> x && b instanceof List<?> y) {
            return joined(x, y, budget);
        }
        if (a instanceof Tuple x && b instanceof Tuple y) {
            return new Tuple(joined(x.items(), y.items(), budget));
        }
        return null;
    }

    private static String escaped(@Nullable Object text) {
        return text instanceof Markup markup
                ? markup.text()
                : Markup.escape(Texts.plain(text)).text();
    }

    private static List<@Nullable Object> joined(List<?> a, List<?> b, Budget budget) {
        budget.steps((long) a.size() + b.size());
        List<@Nullable Object> all = new ArrayList<>(a);
        all.addAll(b);
        return Collections.unmodifiableList(all);
    }

    private static @Nullable Object repeat(@Nullable Object value, @Nullable Object count, Budget budget) {
        BigInteger times = Types.integerOrNull(count);
        if (times == null) {
            return null;
        }
        int n = Math.max(0, Types.index(times));
        if (value instanceof String text) {
            budget.text((long) text.length() * n);
            return text.repeat(n);
        }
        if (value instanceof Markup markup) {
            budget.text((long) markup.text().length() * n);
            return new Markup(markup.text().repeat(n));
        }
        List<?> items = value instanceof List<?> list ? list : value instanceof Tuple tuple ? tuple.items() : null;
        if (items == null) {
            return null;
        }
        budget.steps((long) items.size() * n);
        List<@Nullable Object> all = new ArrayList<>();
        for (int i = 0; i < n && !items.isEmpty(); i++) {
            all.addAll(items);
        }
        return value instanceof Tuple ? new Tuple(all) : Collections.unmodifiableList(all);
    }

    static double toDouble(@Nullable Object number) {
        BigInteger whole = Types.integerOrNull(number);
        if (whole == null) {
            return (Double) number;
        }
        double value = whole.doubleValue();
        if (Double.isInfinite(value)) {
            throw TemplateError.fault("a whole number is too large for a float");
        }
        return value;
    }

    private static Object integers(BigInteger a, String operator, BigInteger b) {
        switch (operator) {
            case "/" -> {
                notZero(b.signum() == 0);
                double quotient = a.bitLength() <= 53 && b.bitLength() <= 53
                        ? a.doubleValue() / b.doubleValue()
                        : new BigDecimal(a)
                                .divide(new BigDecimal(b), MathContext.DECIMAL128)
                                .doubleValue();
                if (Double.isInfinite(quotient)) {
                    throw TemplateError.fault("a quotient is too large for a float");
                }
                return quotient;
            }
            case "//", "%" -> {
                notZero(b.signum() == 0);
                BigInteger[] parts = a.divideAndRemainder(b);
                boolean down = parts[1].signum() != 0 && parts[1].signum() != b.signum();
                return operator.equals("%")
                        ? (down ? parts[1].add(b) : parts[1])
                        : (down ? parts[0].subtract(BigInteger.ONE) : parts[0]);
            }
            case "**" -> {
                return power(a, b);
            }
            default -> {}
        }
        return bounded(
                switch (operator) {
                    case "+" -> a.add(b);
                    case "-" -> a.subtract(b);
                    default -> a.multiply(b);
                });
    }

    private static Object power(BigInteger a, BigInteger b) {
        if (b.signum() < 0) {
            notZero(a.signum() == 0);
            return Math.pow(a.doubleValue(), b.doubleValue());
        }
        boolean small = a.bitLength() <= 1 && a.abs().bitLength() <= 1; // -1, 0, 1
        if (small) {
            return a.signum() < 0 && !b.testBit(0) ? BigInteger.ONE : b.signum() == 0 ? BigInteger.ONE : a;
        }
        if (b.bitLength() > 20 || (long) a.bitLength() * b.intValue() > Budget.MAX_BITS) {
            throw tooLarge();
        }
        return bounded(a.pow(b.intValue()));
    }

    static BigInteger bounded(BigInteger number) {
        if (number.bitLength() > Budget.MAX_BITS) {
            throw tooLarge();
        }
        return number;
    }

    private static TemplateError tooLarge() {
        return TemplateError.limit("a whole number has more than " + Budget.MAX_BITS + " bits");
    }

    private static Double floats(double a, String operator, double b) {
        return switch (operator) {
            case "+" -> a + b;
            case "-" -> a - b;
            case "*" -> a * b;
            case "/" -> {
                notZero(b == 0);
                yield a / b;
            }
            case "//" -> {
                notZero(b == 0);
                yield floor(a, b);
            }
            case "%" -> {
                notZero(b == 0);
                yield modulo(a, b);
            }
            default -> {
                notZero(a == 0 && b < 0);
                double power = Math.pow(a, b);
                if (Double.isNaN(power) && !Double.isNaN(a) && !Double.isNaN(b)) {
                    throw TemplateError.unsupported("a complex number");
                }
                if (Double.isInfinite(power) && !Double.isInfinite(a) && !Double.isInfinite(b)) {
                    throw TemplateError.fault("a power is too large for a float");
                }
                yield power;
            }
        };
    }

    private static double modulo(double a, double b) {
        double rest = a % b;
        return rest == 0 ? Math.copySign(0, b) : (rest < 0) != (b < 0) ? rest + b : rest;
    }

    private static double floor(double a, double b) {
        double quotient = (a - modulo(a, b)) / b;
        if (quotient == 0) {
            return Math.copySign(0, a / b);
        }
        double down = Math.floor(quotient);
        return quotient - down > 0.5 ? down + 1 : down;
    }

    private static void notZero(boolean zero) {
        if (zero) {
            throw TemplateError.fault("division by zero");
        }
    }
}
