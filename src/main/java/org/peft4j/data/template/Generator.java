package org.peft4j.data.template;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * What filters such as {@code map} and {@code select} give: items that are made when they are asked for, once. It has no
 * length, and is true even if nothing comes; as in Python.
 *
 * @param items what comes; what was taken is gone
 */
record Generator(Iterator<@Nullable Object> items) {
    /** What is made, and what can be wrong with it, only when the first item is asked for. */
    static Generator later(Supplier<Iterator<@Nullable Object>> items) {
        return new Generator(new Iterator<@Nullable Object>() {
            private @Nullable Iterator<@Nullable Object> made;

            @Override
            public boolean hasNext() {
                if (made == null) {
                    made = items.get();
                }
                return made.hasNext();
            }

            @Override
            public @Nullable Object next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                return made.next();
            }
        });
    }
}
