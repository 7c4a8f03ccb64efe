package org.peft4j.data.tokenizer;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/** What the judges of a tokenizer's components share: a component is an object with a {@code type}. */
final class Components {
    /** Components in components; real files have two levels. */
    private static final int MAX_DEPTH = 8;

    private Components() {}

    /** Refuses a component that stands too deep in others: the library's own stack ends somewhere. */
    static void checkDepth(Part component, int depth) {
        if (depth > MAX_DEPTH) {
            throw component.bad(component.where() + " stands in more than " + MAX_DEPTH + " other components");
        }
    }

    /** The members of a sequence, each judged. */
    static List<Object> judgeAll(Part list, int depth, BiFunction<Part, Integer, Map<String, @Nullable Object>> judge) {
        List<Object> judged = new ArrayList<>();
        for (Part each : list.list()) {
            judged.add(judge.apply(each, depth + 1));
        }
        return judged;
    }

    /** A component that is written as it was read, apart from members given here. */
    static Map<String, @Nullable Object> json(String type, @Nullable Object... namesAndValues) {
        Map<String, @Nullable Object> json = new LinkedHashMap<>();
        json.put("type", type);
        for (int i = 0; i < namesAndValues.length; i += 2) {
            json.put((String) Objects.requireNonNull(namesAndValues[i]), namesAndValues[i + 1]);
        }
        return json;
    }

    static RuntimeException unknown(Part component, String... types) {
        return component.at("type").must("one of " + List.of(types));
    }
}
