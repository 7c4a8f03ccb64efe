package org.peft4j.data.template;

import static java.util.Map.entry;

import java.util.Collections;
import java.util.Iterator;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** {@code map}, {@code select}, {@code reject} and their kind: each item is looked at when it is asked for. */
final class PickingFilters {
    static final Map<String, Filters.Filter> ALL = Map.ofEntries(
            entry("map", Filters.later(PickingFilters::map)),
            entry("select", picking(false, true)),
            entry("reject", picking(false, false)),
            entry("selectattr", picking(true, true)),
            entry("rejectattr", picking(true, false)));

    private PickingFilters() {}

    private static Filters.Filter picking(boolean attribute, boolean wanted) {
        return Filters.later((input, arguments, all) -> pick(input, arguments, all, attribute, wanted));
    }

    private static Object map(@Nullable Object input, Args arguments, Filters all) {
        if (!Types.isTrue(input)) {
            return new Generator(Collections.emptyIterator());
        }
        Budget budget = all.budget();
        if (arguments.positional().isEmpty() && arguments.named().containsKey("attribute")) {
            Args.Bound bound = arguments.bind("attribute", "default");
            ItemPath path = ItemPath.of(bound.get("attribute"));
            return mapped(
                    Sequences.iterate(input, budget),
                    item -> path.of(item, bound.get("default", null), budget),
                    budget);
        }
        String name = name(arguments, 0);
        Args rest = arguments.rest();
        return mapped(Sequences.iterate(input, budget), item -> all.apply(name, item, rest), budget);
    }

    private static Object pick(@Nullable Object input, Args arguments, Filters all, boolean attribute, boolean wanted) {
        if (!Types.isTrue(input)) {
            return new Generator(Collections.emptyIterator());
        }
        Budget budget = all.budget();
        Args rest = arguments;
        ItemPath path = ItemPath.of(null);
        if (attribute) {
            if (arguments.positional().isEmpty()) {
                throw TemplateError.fault(arguments.function() + " needs the name of an attribute");
            }
            path = ItemPath.of(arguments.positional().get(0));
            rest = arguments.rest();
        }
        ItemPath where = path;
        if (rest.positional().isEmpty()) {
            return picked(
                    Sequences.iterate(input, budget), item -> Types.isTrue(where.of(item, budget)) == wanted, budget);
        }
        String name = name(rest, 0);
        Args more = rest.rest();
        return picked(
                Sequences.iterate(input, budget),
                item -> all.tests().test(name, where.of(item, budget), more) == wanted,
                budget);
    }

    private static String name(Args arguments, int index) {
        if (arguments.positional().size() <= index || !(arguments.positional().get(index) instanceof String name)) {
            throw TemplateError.fault(arguments.function() + " needs the name of a filter or test");
        }
        return name;
    }

    /** What becomes of an item. */
    private interface Mapping {
        @Nullable
        Object of(@Nullable Object item);
    }

    private static Generator mapped(Iterator<@Nullable Object> items, Mapping mapping, Budget budget) {
        return new Generator(new Iterator<@Nullable Object>() {
            @Override
            public boolean hasNext() {
                budget.enter();
                boolean more = items.hasNext();
                budget.leave();
                return more;
            }

            @Override
            public @Nullable Object next() {
                budget.step();
                budget.enter();
                Object item = mapping.of(items.next());
                budget.leave();
                return item;
            }
        });
    }

    static Generator picked(Iterator<@Nullable Object> items, Predicate<@Nullable Object> is, Budget budget) {
        return new Generator(new Iterator<@Nullable Object>() {
            private @Nullable Object ahead = Frame.MISSING;

            @Override
            public boolean hasNext() {
                budget.enter();
                while (ahead == Frame.MISSING && items.hasNext()) {
                    budget.step();
                    Object item = items.next();
                    ahead = is.test(item) ? item : Frame.MISSING;
                }
                budget.leave();
                return ahead != Frame.MISSING;
            }

            @Override
            public @Nullable Object next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                Object item = ahead;
                ahead = Frame.MISSING;
                return item;
            }
        });
    }
}
