package org.peft4j.data.template;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** What {@code keys()}, {@code values()} and {@code items()} give: it has a length and can be gone through, no more. */
record DictView(Dict dict, Kind kind) {
    enum Kind {
        KEYS,
        VALUES,
        ITEMS
    }

    List<@Nullable Object> list() {
        return switch (kind) {
            case KEYS -> dict.keys();
            case VALUES -> dict.values();
            case ITEMS -> dict.items();
        };
    }
}
