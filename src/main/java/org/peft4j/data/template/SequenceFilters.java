package org.peft4j.data.template;

import static java.util.Map.entry;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Filters of lists, dicts, and what else has items. */
final class SequenceFilters {
    static final Map<String, Filters.Filter> ALL = Map.ofEntries(
            entry("attr", SequenceFilters::attr),
            entry("batch", Filters.later(SequenceFilters::batch)),
            entry("count", SequenceFilters::length),
            entry("d", SequenceFilters::otherwise),
            entry("default", SequenceFilters::otherwise),
            entry("dictsort", SequenceFilters::dictSort),
            entry("first", SequenceFilters::first),
            entry("groupby", SequenceFilters::groupBy),
            entry("items", Filters.later(SequenceFilters::items)),
            entry("last", SequenceFilters::last),
            entry("length", SequenceFilters::length),
            entry("list", SequenceFilters::list),
            entry("max", (input, arguments, all) -> extreme(input, arguments, all, true)),
            entry("min", (input, arguments, all) -> extreme(input, arguments, all, false)),
            entry("reverse", SequenceFilters::reverse),
            entry("slice", Filters.later(SequenceFilters::slice)),
            entry("sort", SequenceFilters::sort),
            entry("sum", SequenceFilters::sum),
            entry("unique", Filters.later(SequenceFilters::unique)));

    private SequenceFilters() {}

    private static @Nullable Object attr(@Nullable Object input, Args arguments, Filters all) {
        String name = arguments.bind("name").text("name");
        Object attribute = Access.attributeAlone(input, name, all.budget());
        return attribute == Frame.MISSING ? Undefined.attribute(input, name) : attribute;
    }

    private static @Nullable Object otherwise(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("default_value", "boolean");
        boolean absent = input instanceof Undefined || (bound.isTrue("boolean") && !Types.isTrue(input));
        return absent ? bound.get("default_value", "") : input;
    }

    private static Object length(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        return Args.number(Sequences.length(input, all.budget()));
    }

    private static Object list(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        return Collections.unmodifiableList(Sequences.list(input, all.budget()));
    }

    private static @Nullable Object first(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        Iterator<@Nullable Object> items = Sequences.iterate(input, all.budget());
        return items.hasNext() ? items.next() : new Undefined("there is no first item, the sequence is empty");
    }

    private static @Nullable Object last(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        List<@Nullable Object> items = fixed(input, "last", all);
        return items.isEmpty()
                ? new Undefined("there is no last item, the sequence is empty")
                : items.get(items.size() - 1);
    }

    /** The items of what can be gone through from behind. */
    private static List<@Nullable Object> fixed(@Nullable Object input, String filter, Filters all) {
        if (input instanceof Generator || input instanceof Loop) {
            throw TemplateError.fault("filter '" + filter + "' cannot go through a value of type " + Types.name(input)
                    + " from behind; make it a list first: |list|" + filter);
        }
        return Sequences.list(input, all.budget());
    }

    private static Object reverse(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        if (input instanceof String text) {
            all.budget().text(text.length());
            return new StringBuilder(text).reverse().toString();
        }
        if (input instanceof Generator) {
            List<@Nullable Object> items = Sequences.list(input, all.budget());
            Collections.reverse(items);
            return Collections.unmodifiableList(items);
        }
        List<@Nullable Object> items = fixed(input, "reverse", all);
        Collections.reverse(items);
        return new Generator(items.iterator());
    }

    private static Object items(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        if (input instanceof Undefined) {
            return new Generator(Collections.emptyIterator());
        }
        if (!(input instanceof Dict dict)) {
            throw TemplateError.fault("filter 'items' needs a dict, got " + Types.name(input));
        }
        all.budget().steps(dict.size());
        return new Generator(dict.items().iterator());
    }

    private static Object dictSort(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("case_sensitive", "by", "reverse");
        String by = bound.text("by", "key");
        if (!by.equals("key") && !by.equals("value")) {
            throw TemplateError.fault("filter 'dictsort' sorts by key or value, got '" + by + "'");
        }
        if (!(input instanceof Dict dict)) {
            throw input instanceof Undefined missing
                    ? missing.fault()
                    : TemplateError.fault("filter 'dictsort' needs a dict, got " + Types.name(input));
        }
        all.budget().steps(dict.size());
        ItemPath path = ItemPath.of(Args.number(by.equals("key") ? 0 : 1));
        return sorted(
                dict.items(),
                item -> folded(path.of(item, all.budget()), bound.isTrue("case_sensitive")),
                bound.isTrue("reverse"),
                all.budget());
    }

    private static Object sort(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("reverse", "case_sensitive", "attribute");
        Object attribute = bound.get("attribute", null);
        List<ItemPath> paths = new ArrayList<>();
        if (attribute instanceof String text) {
            for (String one : text.split(",", -1)) {
                paths.add(ItemPath.of(one));
            }
        } else {
            paths.add(ItemPath.of(attribute));
        }
        return sorted(
                Sequences.list(input, all.budget()),
                item -> {
                    List<@Nullable Object> keys = new ArrayList<>();
                    paths.forEach(
                            path -> keys.add(folded(path.of(item, all.budget()), bound.isTrue("case_sensitive"))));
                    return keys;
                },
                bound.isTrue("reverse"),
                all.budget());
    }

    /** What an item is sorted by. */
    private interface Key {
        @Nullable
        Object of(@Nullable Object item);
    }

    private static @Nullable Object folded(@Nullable Object key, boolean caseSensitive) {
        return !caseSensitive && key instanceof String text ? PyText.lower(text) : key;
    }

    private static List<@Nullable Object> sorted(
            List<@Nullable Object> items, Key key, boolean reverse, Budget budget) {
        List<Tuple> keyed = new ArrayList<>();
        for (Object item : items) {
            keyed.add(Tuple.of(key.of(item), item));
        }
        Comparator<Tuple> order =
                (a, b) -> Compare.order(a.items().get(0), b.items().get(0), "<", budget);
        keyed.sort(reverse ? order.reversed() : order);
        List<@Nullable Object> all = new ArrayList<>();
        keyed.forEach(pair -> all.add(pair.items().get(1)));
        return Collections.unmodifiableList(all);
    }

    private static @Nullable Object extreme(@Nullable Object input, Args arguments, Filters all, boolean largest) {
        Args.Bound bound = arguments.bind("case_sensitive", "attribute");
        ItemPath path = ItemPath.of(bound.get("attribute", null));
        Object best = null;
        Object bestKey = null;
        boolean found = false;
        for (Object item : Sequences.list(input, all.budget())) {
            Object key = folded(path.of(item, all.budget()), bound.isTrue("case_sensitive"));
            if (!found || Compare.test(key, largest ? ">" : "<", bestKey, all.budget())) {
                best = item;
                bestKey = key;
                found = true;
            }
        }
        return found ? best : new Undefined("there is no item, the sequence is empty");
    }

    private static @Nullable Object sum(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("attribute", "start");
        ItemPath path = ItemPath.of(bound.get("attribute", null));
        Object sum = bound.get("start", Args.number(0));
        if (Types.isText(sum)) {
            throw TemplateError.fault("filter 'sum' adds no texts; use join");
        }
        for (Object item : Sequences.list(input, all.budget())) {
            sum = Arithmetic.binary(sum, "+", path.of(item, all.budget()), all.budget());
        }
        return sum;
    }

    private static Object unique(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("case_sensitive", "attribute");
        ItemPath path = ItemPath.of(bound.get("attribute", null));
        Set<Object> seen = new HashSet<>();
        return PickingFilters.picked(
                Sequences.iterate(input, all.budget()),
                item -> seen.add(Keys.of(folded(path.of(item, all.budget()), bound.isTrue("case_sensitive")))),
                all.budget());
    }

    private static Object groupBy(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("attribute", "default", "case_sensitive");
        ItemPath path = ItemPath.of(bound.get("attribute"));
        Object absent = bound.get("default", null);
        Key key = item -> folded(path.of(item, absent, all.budget()), bound.isTrue("case_sensitive"));
        List<@Nullable Object> groups = new ArrayList<>();
        List<@Nullable Object> group = new ArrayList<>();
        Object current = null;
        for (Object item : sorted(Sequences.list(input, all.budget()), key, false, all.budget())) {
            Object now = key.of(item);
            if (!group.isEmpty() && !Compare.equal(now, current, all.budget())) {
                groups.add(group(path, absent, group, all));
                group = new ArrayList<>();
            }
            current = now;
            group.add(item);
        }
        if (!group.isEmpty()) {
            groups.add(group(path, absent, group, all));
        }
        return Collections.unmodifiableList(groups);
    }

    /** A group and what it has in common, spelled as its first item has it. */
    private static Tuple group(ItemPath path, @Nullable Object absent, List<@Nullable Object> group, Filters all) {
        List<@Nullable Object> pair = new ArrayList<>();
        pair.add(path.of(group.get(0), absent, all.budget()));
        pair.add(Collections.unmodifiableList(group));
        return new Tuple(Collections.unmodifiableList(pair), List.of("grouper", "list"));
    }

    /** Into what batch and slice divide, and what fills the last places; null: nothing. */
    private record Division(int number, @Nullable Object fill) {
        static Division of(Args arguments, String filter, String name) {
            Args.Bound bound = arguments.bind(name, "fill_with");
            bound.get(name);
            int number = bound.integer(name, 0);
            if (number < 1) {
                throw TemplateError.fault(
                        "filter '" + filter + "' needs '" + name + "' to be at least 1, got " + number);
            }
            return new Division(number, bound.get("fill_with", null));
        }
    }

    private static Object batch(@Nullable Object input, Args arguments, Filters all) {
        Division division = Division.of(arguments, "batch", "linecount");
        int size = division.number();
        Object fill = division.fill();
        Iterator<@Nullable Object> items = Sequences.iterate(input, all.budget());
        return new Generator(new Iterator<@Nullable Object>() {
            @Override
            public boolean hasNext() {
                return items.hasNext();
            }

            @Override
            public Object next() {
                if (!items.hasNext()) {
                    throw new NoSuchElementException();
                }
                List<@Nullable Object> batch = new ArrayList<>();
                while (batch.size() < size && (items.hasNext() || (fill != null))) {
                    all.budget().step();
                    batch.add(items.hasNext() ? items.next() : fill);
                }
                return Collections.unmodifiableList(batch);
            }
        });
    }

    private static Object slice(@Nullable Object input, Args arguments, Filters all) {
        Division division = Division.of(arguments, "slice", "slices");
        int count = division.number();
        List<@Nullable Object> items = Sequences.list(input, all.budget());
        all.budget().steps(count);
        int longer = items.size() % count;
        List<@Nullable Object> slices = new ArrayList<>();
        int begin = 0;
        for (int i = 0; i < count; i++) {
            int end = begin + items.size() / count + (i < longer ? 1 : 0);
            List<@Nullable Object> slice = new ArrayList<>(items.subList(begin, end));
            if (division.fill() != null && i >= longer) {
                slice.add(division.fill());
            }
            slices.add(Collections.unmodifiableList(slice));
            begin = end;
        }
        return new Generator(slices.iterator());
    }
}
