package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Computes expressions. */
final class Expressions {
    private final Budget budget;
    private final Filters filters;

    Expressions(Budget budget) {
        this.budget = budget;
        this.filters = new Filters(budget);
    }

    @Nullable
    Object value(Expr expression, Frame frame) {
        budget.step();
        budget.enter();
        try {
            Object value = compute(expression, frame);
            budget.leave();
            return value;
        } catch (TemplateError e) {
            throw e.at(expression.line());
        }
    }

    boolean isTrue(Expr expression, Frame frame) {
        return Types.isTrue(value(expression, frame));
    }

    private @Nullable Object compute(Expr expression, Frame frame) {
        if (expression instanceof Expr.Const constant) {
            return constant.value();
        }
        if (expression instanceof Expr.Name name) {
            return name(name.name(), frame);
        }
        if (expression instanceof Expr.Attribute attribute) {
            return Access.attribute(value(attribute.object(), frame), attribute.name(), budget);
        }
        if (expression instanceof Expr.Item item) {
            return Access.item(value(item.object(), frame), value(item.index(), frame), budget);
        }
        if (expression instanceof Expr.Slice slice) {
            return slice(slice, frame);
        }
        if (expression instanceof Expr.Call call) {
            return call(call, frame, null);
        }
        if (expression instanceof Expr.Filter filter) {
            return filter(filter, null, frame);
        }
        if (expression instanceof Expr.Test test) {
            Object input = value(test.input(), frame);
            return filters.tests().test(test.name(), input, arguments(test.name(), test.arguments(), frame));
        }
        return expression instanceof Expr.ListOf
                        || expression instanceof Expr.TupleOf
                        || expression instanceof Expr.DictOf
                ? collection(expression, frame)
                : operator(expression, frame);
    }

    private static @Nullable Object name(String name, Frame frame) {
        if (name.equals("self") && frame.isMissing(name)) {
            throw TemplateError.unsupported("'self'");
        }
        return frame.get(name);
    }

    private @Nullable Object operator(Expr expression, Frame frame) {
        if (expression instanceof Expr.Unary unary) {
            return Arithmetic.unary(unary.operator(), value(unary.operand(), frame));
        }
        if (expression instanceof Expr.Binary binary) {
            Object left = value(binary.left(), frame);
            return Arithmetic.binary(left, binary.operator(), value(binary.right(), frame), budget);
        }
        if (expression instanceof Expr.And and) {
            Object left = value(and.left(), frame);
            return Types.isTrue(left) ? value(and.right(), frame) : left;
        }
        if (expression instanceof Expr.Or or) {
            Object left = value(or.left(), frame);
            return Types.isTrue(left) ? left : value(or.right(), frame);
        }
        if (expression instanceof Expr.Not not) {
            return !isTrue(not.operand(), frame);
        }
        if (expression instanceof Expr.Concat concat) {
            StringBuilder out = new StringBuilder();
            for (Object item : values(concat.items(), frame)) {
                TextMethods.append(out, "", Texts.of(item, budget), budget);
            }
            return out.toString();
        }
        if (expression instanceof Expr.Compare compare) {
            return compare(compare, frame);
        }
        if (expression instanceof Expr.Conditional conditional) {
            if (isTrue(conditional.test(), frame)) {
                return value(conditional.yes(), frame);
            }
            return conditional.no() != null
                    ? value(conditional.no(), frame)
                    : new Undefined("an 'if' without 'else' is false, so there is no value");
        }
        throw new AssertionError(expression);
    }

    private Object collection(Expr expression, Frame frame) {
        List<@Nullable Object> items = values(expression.children(), frame);
        if (expression instanceof Expr.DictOf) {
            Dict dict = new Dict();
            for (int i = 0; i < items.size(); i += 2) {
                dict.put(items.get(i), items.get(i + 1));
            }
            return dict;
        }
        return expression instanceof Expr.TupleOf ? new Tuple(items) : Collections.unmodifiableList(items);
    }

    private List<@Nullable Object> values(List<Expr> expressions, Frame frame) {
        List<@Nullable Object> values = new ArrayList<>(expressions.size());
        for (Expr expression : expressions) {
            values.add(value(expression, frame));
        }
        return values;
    }

    private boolean compare(Expr.Compare compare, Frame frame) {
        Object left = value(compare.operands().get(0), frame);
        for (int i = 0; i < compare.operators().size(); i++) {
            String operator = compare.operators().get(i);
            Object right = value(compare.operands().get(i + 1), frame);
            boolean holds = switch (operator) {
                case "in" -> Sequences.has(right, left, budget);
                case "not in" -> !Sequences.has(right, left, budget);
                default -> Compare.test(left, operator, right, budget);
            };
            if (!holds) {
                return false;
            }
            left = right;
        }
        return true;
    }

    private Object slice(Expr.Slice slice, Frame frame) {
        return Access.slice(
                value(slice.object(), frame),
                orNone(slice.start(), frame),
                orNone(slice.stop(), frame),
                orNone(slice.step(), frame),
                budget);
    }

    private @Nullable Object orNone(@Nullable Expr expression, Frame frame) {
        return expression == null ? null : value(expression, frame);
    }

    /**
     * A filter and those before it.
     *
     * @param text what the first of them takes where it has no input of its own
     */
    @Nullable
    Object filter(Expr.Filter filter, @Nullable String text, Frame frame) {
        Object input = filter.input() == null
                ? text
                : filter.input() instanceof Expr.Filter before && text != null
                        ? filter(before, text, frame)
                        : value(filter.input(), frame);
        try {
            return filters.apply(filter.name(), input, arguments(filter.name(), filter.arguments(), frame));
        } catch (TemplateError e) {
            throw e.at(filter.line());
        }
    }

    /**
     * A call.
     *
     * @param caller what the macro gets as {@code caller}, or null
     */
    @Nullable
    Object call(Expr.Call call, Frame frame, @Nullable Macro caller) {
        Object function = value(call.function(), frame);
        if (function instanceof Undefined missing) {
            throw missing.fault().at(call.line());
        }
        if (!(function instanceof Callable callable)) {
            throw TemplateError.fault("a value of type " + Types.name(function) + " cannot be called")
                    .at(call.line());
        }
        Args arguments = arguments(callable.name(), call.arguments(), frame);
        try {
            return callable.call(caller == null ? arguments : with(caller, arguments));
        } catch (TemplateError e) {
            throw e.at(call.line());
        }
    }

    private static Args with(Macro caller, Args arguments) {
        Map<String, @Nullable Object> named = new LinkedHashMap<>(arguments.named());
        named.put("caller", caller);
        return new Args(arguments.function(), arguments.positional(), named);
    }

    private Args arguments(String function, Expr.Arguments arguments, Frame frame) {
        List<@Nullable Object> positional = values(arguments.positional(), frame);
        Map<String, @Nullable Object> named = new LinkedHashMap<>();
        for (Expr.Keyword keyword : arguments.keywords()) {
            name(named, keyword.name(), value(keyword.value(), frame), function);
        }
        if (arguments.more() != null) {
            for (Iterator<@Nullable Object> more = Sequences.iterate(value(arguments.more(), frame), budget);
                    more.hasNext(); ) {
                budget.step();
                positional.add(more.next());
            }
        }
        if (arguments.moreNamed() != null) {
            if (!(value(arguments.moreNamed(), frame) instanceof Dict dict)) {
                throw TemplateError.fault("** needs a dict");
            }
            budget.steps(dict.size());
            for (Object key : dict.keys()) {
                if (!(key instanceof String name)) {
                    throw TemplateError.fault("** needs texts as keys, got " + Types.name(key));
                }
                name(named, name, dict.get(key), function);
            }
        }
        return new Args(function, positional, named);
    }

    private static void name(
            Map<String, @Nullable Object> named, String name, @Nullable Object value, String function) {
        if (named.containsKey(name)) {
            throw TemplateError.fault(function + " got two values for argument '" + name + "'");
        }
        named.put(name, value);
    }
}
