package org.peft4j.data.template;

import static java.util.Map.entry;

import java.math.BigInteger;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.NearestName;

/** What stands behind {@code is}, by name. */
final class Tests {
    /** What a test does. */
    private interface Test {
        boolean of(@Nullable Object input, Args arguments, Budget budget);
    }

    private static final Map<String, Test> BY_NAME = new TreeMap<>(Map.ofEntries(
            entry("defined", plain(value -> !(value instanceof Undefined))),
            entry("undefined", plain(value -> value instanceof Undefined)),
            entry("none", plain(value -> value == null)),
            entry("boolean", plain(value -> value instanceof Boolean)),
            entry("true", plain(value -> Boolean.TRUE.equals(value))),
            entry("false", plain(value -> Boolean.FALSE.equals(value))),
            entry("integer", plain(value -> value instanceof BigInteger)),
            entry("float", plain(value -> value instanceof Double)),
            entry("number", plain(Types::isNumber)),
            entry("string", plain(Types::isText)),
            entry("mapping", plain(value -> value instanceof Dict)),
            entry("sequence", plain(Tests::isSequence)),
            entry("iterable", plain(Sequences::isIterable)),
            entry("callable", plain(value -> value instanceof Callable || value instanceof Undefined)),
            entry("escaped", plain(value -> value instanceof Markup)),
            entry("filter", plain(value -> value instanceof String name && Filters.has(name))),
            entry("test", plain(value -> value instanceof String name && has(name))),
            entry(
                    "odd",
                    (value, arguments, budget) -> remainder(value, Args.of("test 'odd'", Args.number(2)), budget, 1)),
            entry(
                    "even",
                    (value, arguments, budget) -> remainder(value, Args.of("test 'even'", Args.number(2)), budget, 0)),
            entry("divisibleby", (value, arguments, budget) -> remainder(value, arguments, budget, 0)),
            entry("lower", (value, arguments, budget) -> PyText.isAllOf(Texts.of(value, budget), false)),
            entry("upper", (value, arguments, budget) -> PyText.isAllOf(Texts.of(value, budget), true)),
            entry("sameas", Tests::sameAs),
            entry(
                    "in",
                    (value, arguments, budget) ->
                            Sequences.has(arguments.bind("seq").get("seq"), value, budget))));

    static {
        for (String[] names : new String[][] {
            {"==", "eq", "equalto"},
            {"!=", "ne"},
            {">", "gt", "greaterthan"},
            {">=", "ge"},
            {"<", "lt", "lessthan"},
            {"<=", "le"}
        }) {
            for (String name : names) {
                BY_NAME.put(
                        name,
                        (value, arguments, budget) -> Compare.test(
                                value, names[0], arguments.bind("other").get("other"), budget));
            }
        }
    }

    private final Budget budget;

    Tests(Budget budget) {
        this.budget = budget;
    }

    private static Test plain(Predicate<@Nullable Object> is) {
        return (value, arguments, budget) -> {
            arguments.bind();
            return is.test(value);
        };
    }

    private static boolean has(String name) {
        return BY_NAME.containsKey(name);
    }

    static void check(String name, int line) {
        if (!has(name)) {
            throw unknown(name).at(line);
        }
    }

    private static TemplateError unknown(String name) {
        return TemplateError.fault("there is no test '" + name + "'" + NearestName.hint(name, BY_NAME.keySet()));
    }

    boolean test(String name, @Nullable Object input, Args arguments) {
        Test test = BY_NAME.get(name);
        if (test == null) {
            throw unknown(name);
        }
        return test.of(input, arguments.withName("test '" + name + "'"), budget);
    }

    private static boolean isSequence(@Nullable Object value) {
        return Sequences.lengthOrNull(value) != null && !(value instanceof DictView) && !(value instanceof Loop);
    }

    private static boolean remainder(@Nullable Object value, Args arguments, Budget budget, int wanted) {
        Object by = arguments.bind("num").get("num");
        return Compare.equal(Arithmetic.binary(value, "%", by, budget), Args.number(wanted), budget);
    }

    private static boolean sameAs(@Nullable Object value, Args arguments, Budget budget) {
        Object other = arguments.bind("other").get("other");
        boolean single = value == null || value instanceof Boolean || other == null || other instanceof Boolean;
        if (!single && (Types.isText(value) || Types.isNumber(value) || value instanceof Undefined)) {
            throw TemplateError.unsupported("test 'sameas' for a value of type " + Types.name(value));
        }
        return value instanceof Boolean ? value.equals(other) : value == other;
    }
}
