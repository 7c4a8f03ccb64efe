package org.peft4j.data.template;

import org.jspecify.annotations.Nullable;

/** {@code namespace(a=1)}: the one thing that a template can change, and so take out of a loop. */
final class Namespace {
    private final Dict attributes;

    Namespace(Dict attributes) {
        this.attributes = attributes;
    }

    Dict attributes() {
        return attributes;
    }

    void set(String name, @Nullable Object value) {
        attributes.put(name, value);
    }
}
