package org.peft4j.data.template;

import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.NearestName;

/** The filters, by name. */
final class Filters {
    /** What a filter does. */
    interface Filter {
        @Nullable
        Object apply(@Nullable Object input, Args arguments, Filters all);
    }

    /** A filter that does nothing before its first item is asked for. */
    static Filter later(Filter filter) {
        return (input, arguments, all) ->
                Generator.later(() -> Sequences.iterate(filter.apply(input, arguments, all), all.budget()));
    }

    private static final Map<String, Filter> BY_NAME = new TreeMap<>();

    static {
        BY_NAME.putAll(TextFilters.ALL);
        BY_NAME.putAll(NumberFilters.ALL);
        BY_NAME.putAll(SequenceFilters.ALL);
        BY_NAME.putAll(PickingFilters.ALL);
    }

    /** What jinja2 has besides; no published chat template that we know uses them. */
    private static final Set<String> NOT_HERE = Set.of(
            "filesizeformat",
            "forceescape",
            "pprint",
            "random",
            "striptags",
            "urlencode",
            "urlize",
            "wordwrap",
            "xmlattr");

    private final Budget budget;
    private final Tests tests;

    Filters(Budget budget) {
        this.budget = budget;
        this.tests = new Tests(budget);
    }

    Budget budget() {
        return budget;
    }

    Tests tests() {
        return tests;
    }

    static boolean has(String name) {
        return BY_NAME.containsKey(name) || NOT_HERE.contains(name);
    }

    static void check(String name, int line) {
        if (!BY_NAME.containsKey(name)) {
            throw unknown(name).at(line);
        }
    }

    private static TemplateError unknown(String name) {
        return NOT_HERE.contains(name)
                ? TemplateError.unsupported("filter '" + name + "'")
                : TemplateError.fault("there is no filter '" + name + "'" + NearestName.hint(name, BY_NAME.keySet()));
    }

    @Nullable
    Object apply(String name, @Nullable Object input, Args arguments) {
        Filter filter = BY_NAME.get(name);
        if (filter == null) {
            throw unknown(name);
        }
        return filter.apply(input, arguments.withName("filter '" + name + "'"), this);
    }
}
