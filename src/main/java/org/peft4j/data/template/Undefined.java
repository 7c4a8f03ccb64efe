package org.peft4j.data.template;

import org.jspecify.annotations.Nullable;

/**
 * What is not there. It can be printed (as nothing), tested and gone through; all else is a fault with this message.
 *
 * @param message what is missing where
 */
record Undefined(String message) {
    static Undefined name(String name) {
        return new Undefined("'" + name + "' is undefined");
    }

    static Undefined attribute(@Nullable Object of, Object name) {
        return new Undefined("a value of type " + Types.name(of) + " has no "
                + (name instanceof String ? "'" + name + "'" : "element " + name));
    }

    TemplateError fault() {
        return TemplateError.fault(message);
    }
}
