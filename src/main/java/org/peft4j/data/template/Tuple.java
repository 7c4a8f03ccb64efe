package org.peft4j.data.template;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Python's tuple.
 *
 * @param fields names of the items, for what filters make; empty for none
 */
record Tuple(List<@Nullable Object> items, List<String> fields) {
    Tuple(List<@Nullable Object> items) {
        this(items, List.of());
    }

    static Tuple of(@Nullable Object... items) {
        return new Tuple(Collections.unmodifiableList(Arrays.asList(items)));
    }
}
