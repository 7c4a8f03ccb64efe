package org.peft4j.data.template;

import java.math.BigInteger;
import java.time.Clock;
import java.time.LocalDateTime;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The functions that every template has: those of jinja2, {@code raise_exception} and {@code strftime_now}. */
final class Functions {
    private Functions() {}

    static Map<String, @Nullable Object> all(Clock clock, Budget budget) {
        Map<String, @Nullable Object> all = new LinkedHashMap<>();
        add(all, "range", Functions::range);
        add(all, "dict", arguments -> dict(arguments, budget));
        add(all, "namespace", arguments -> new Namespace(dict(arguments, budget)));
        add(all, "cycler", arguments -> {
            arguments.withName("cycler").bind(new String[arguments.positional().size()]);
            return new Helper.Cycler(arguments.positional());
        });
        add(all, "joiner", arguments -> new Helper.Joiner(arguments.bind("sep").get("sep", ", ")));
        add(all, "lipsum", arguments -> {
            throw TemplateError.unsupported("function 'lipsum'");
        });
        add(all, "raise_exception", arguments -> {
            throw TemplateError.refused(Texts.of(arguments.bind("message").get("message"), budget));
        });
        add(
                all,
                "strftime_now",
                arguments -> Strftime.format(arguments.bind("format").text("format"), LocalDateTime.now(clock)));
        return all;
    }

    private static void add(Map<String, @Nullable Object> all, String name, Callable.Function function) {
        all.put(name, Callable.of(name, function));
    }

    private static Object range(Args arguments) {
        if (!arguments.named().isEmpty()
                || arguments.positional().isEmpty()
                || arguments.positional().size() > 3) {
            throw TemplateError.fault("range takes 1 to 3 whole numbers");
        }
        long[] bounds = new long[arguments.positional().size()];
        for (int i = 0; i < bounds.length; i++) {
            BigInteger bound = Types.integerOrNull(arguments.positional().get(i));
            if (bound == null) {
                throw TemplateError.fault("range takes whole numbers, got "
                        + Types.name(arguments.positional().get(i)));
            }
            bounds[i] = bound.bitLength() > 62 ? (Long.MAX_VALUE >> 1) * bound.signum() : bound.longValue();
        }
        return switch (bounds.length) {
            case 1 -> new Range(0, bounds[0], 1);
            case 2 -> new Range(bounds[0], bounds[1], 1);
            default -> new Range(bounds[0], bounds[1], bounds[2]);
        };
    }

    private static Dict dict(Args arguments, Budget budget) {
        Dict dict = new Dict();
        Object from = arguments.positional().isEmpty()
                ? new Dict()
                : arguments.positional().get(0);
        if (arguments.positional().size() > 1) {
            throw TemplateError.fault("a dict is made of at most one other value, and of names");
        }
        if (from instanceof Dict other) {
            budget.steps(other.size());
            dict.putAll(other);
        } else {
            for (Iterator<@Nullable Object> pairs = Sequences.iterate(from, budget); pairs.hasNext(); ) {
                List<@Nullable Object> pair = Sequences.list(pairs.next(), budget);
                if (pair.size() != 2) {
                    throw TemplateError.fault("a dict is made of pairs, got " + pair.size() + " values");
                }
                dict.put(pair.get(0), pair.get(1));
            }
        }
        arguments.named().forEach(dict::put);
        return dict;
    }
}
