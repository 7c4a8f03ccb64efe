package org.peft4j.data.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Equality and order of values, as Python has them. */
final class Compare {
    private Compare() {}

    static boolean equal(@Nullable Object a, @Nullable Object b, Budget budget) {
        budget.step();
        if (Types.isNumber(a) && Types.isNumber(b)) {
            return !isNan(a) && !isNan(b) && numbers(a, b) == 0;
        }
        if (Types.isText(a) && Types.isText(b)) {
            String text = Texts.plain(a);
            budget.text(text.length());
            return text.equals(Texts.plain(b));
        }
        if (a instanceof List<?> x && b instanceof List<?> y) {
            return items(x, y, budget);
        }
        if (a instanceof Tuple x && b instanceof Tuple y) {
            return items(x.items(), y.items(), budget);
        }
        if (a instanceof Dict x && b instanceof Dict y) {
            return dicts(x, y, budget);
        }
        if (a instanceof Range x && b instanceof Range y) {
            return items(x.list(), y.list(), budget);
        }
        if (a instanceof Undefined && b instanceof Undefined) {
            return true;
        }
        if (a instanceof DictView || b instanceof DictView) {
            throw TemplateError.unsupported("comparing what keys(), values() or items() give");
        }
        return a == b;
    }

    private static boolean items(List<?> a, List<?> b, Budget budget) {
        if (a.size() != b.size()) {
            return false;
        }
        budget.enter();
        Iterator<?> others = b.iterator();
        boolean same = true;
        for (Iterator<?> i = a.iterator(); same && i.hasNext(); ) {
            same = sameOrEqual(i.next(), others.next(), budget);
        }
        budget.leave();
        return same;
    }

    private static boolean dicts(Dict a, Dict b, Budget budget) {
        if (a.size() != b.size()) {
            return false;
        }
        budget.enter();
        boolean same = true;
        for (Object key : a.keys()) {
            same = same && b.has(key) && sameOrEqual(a.get(key), b.get(key), budget);
        }
        budget.leave();
        return same;
    }

    /** In lists and dicts a value equals itself even if it is not a number. */
    private static boolean sameOrEqual(@Nullable Object a, @Nullable Object b, Budget budget) {
        return (a == b && a != null) || equal(a, b, budget);
    }

    /** Negative, 0 or positive; a fault for what has no order. */
    static int order(@Nullable Object a, @Nullable Object b, String operator, Budget budget) {
        budget.step();
        if (a instanceof Undefined missing) {
            throw missing.fault();
        }
        if (b instanceof Undefined missing) {
            throw missing.fault();
        }
        if (Types.isNumber(a) && Types.isNumber(b)) {
            if (isNan(a) || isNan(b)) {
                throw TemplateError.fault("nan has no place in an order");
            }
            return numbers(a, b);
        }
        if (Types.isText(a) && Types.isText(b)) {
            budget.text(Texts.plain(a).length());
            return PyText.compare(Texts.plain(a), Texts.plain(b));
        }
        if (a instanceof List<?> x && b instanceof List<?> y) {
            return lists(x, y, operator, budget);
        }
        if (a instanceof Tuple x && b instanceof Tuple y) {
            return lists(x.items(), y.items(), operator, budget);
        }
        throw TemplateError.fault("'" + operator + "' cannot compare " + Types.name(a) + " with " + Types.name(b));
    }

    private static int lists(List<?> a, List<?> b, String operator, Budget budget) {
        budget.enter();
        for (int i = 0; i < Math.min(a.size(), b.size()); i++) {
            if (!equal(a.get(i), b.get(i), budget)) {
                int order = order(a.get(i), b.get(i), operator, budget);
                budget.leave();
                return order;
            }
        }
        budget.leave();
        return Integer.compare(a.size(), b.size());
    }

    static boolean isNan(@Nullable Object value) {
        return value instanceof Double number && number.isNaN();
    }

    private static int numbers(@Nullable Object a, @Nullable Object b) {
        BigInteger x = Types.integerOrNull(a);
        BigInteger y = Types.integerOrNull(b);
        if (x != null && y != null) {
            return x.compareTo(y);
        }
        double p = x == null ? (Double) a : 0;
        double q = y == null ? (Double) b : 0;
        if (x == null && y == null) {
            return p < q ? -1 : p > q ? 1 : 0;
        }
        if (x == null) {
            return Double.isInfinite(p) ? (p > 0 ? 1 : -1) : new BigDecimal(p).compareTo(new BigDecimal(y));
        }
        return Double.isInfinite(q) ? (q > 0 ? -1 : 1) : new BigDecimal(x).compareTo(new BigDecimal(q));
    }

    /** {@code a operator b} for one of {@code == != < <= > >=}. */
    static boolean test(@Nullable Object a, String operator, @Nullable Object b, Budget budget) {
        if (operator.equals("==") || operator.equals("!=")) {
            return equal(a, b, budget) == operator.equals("==");
        }
        if (Types.isNumber(a) && Types.isNumber(b) && (isNan(a) || isNan(b))) {
            return false;
        }
        int order = order(a, b, operator, budget);
        return switch (operator) {
            case "<" -> order < 0;
            case "<=" -> order <= 0;
            case ">" -> order > 0;
            default -> order >= 0;
        };
    }
}
