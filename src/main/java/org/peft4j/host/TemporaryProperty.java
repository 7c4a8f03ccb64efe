package org.peft4j.host;

import org.jspecify.annotations.Nullable;

/** A system property that a library reads once, while it loads; afterwards it is what it was. */
public final class TemporaryProperty implements AutoCloseable {
    private final String name;
    private final @Nullable String before;

    private TemporaryProperty(String name, @Nullable String before) {
        this.name = name;
        this.before = before;
    }

    /** Sets a property until {@link #close}. */
    public static TemporaryProperty set(String name, String value) {
        return new TemporaryProperty(name, System.setProperty(name, value));
    }

    @Override
    public void close() {
        if (before == null) {
            System.clearProperty(name);
        } else {
            System.setProperty(name, before);
        }
    }
}
