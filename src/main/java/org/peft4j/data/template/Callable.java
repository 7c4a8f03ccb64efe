package org.peft4j.data.template;

import org.jspecify.annotations.Nullable;

/** What can be called: macros, methods, and the few functions that templates have. */
interface Callable {
    @Nullable
    Object call(Args arguments);

    /** For messages. */
    String name();

    /** One of these from a function. */
    static Callable of(String name, Function function) {
        return new Callable() {
            @Override
            public @Nullable Object call(Args arguments) {
                return function.call(arguments);
            }

            @Override
            public String name() {
                return name;
            }
        };
    }

    /** The body of a function. */
    interface Function {
        @Nullable
        Object call(Args arguments);
    }
}
