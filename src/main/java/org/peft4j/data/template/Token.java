package org.peft4j.data.template;

/**
 * A piece of a template.
 *
 * @param text  the text itself, an operator, a name, the value of a string, or the digits of a number
 */
record Token(Type type, String text, int line) {
    enum Type {
        DATA("text"),
        PRINT_BEGIN("{{"),
        PRINT_END("}}"),
        BLOCK_BEGIN("{%"),
        BLOCK_END("%}"),
        NAME("a name"),
        STRING("a string"),
        INTEGER("a whole number"),
        FLOAT("a number"),
        OPERATOR("an operator"),
        END("the end of the template");

        private final String shown;

        Type(String shown) {
            this.shown = shown;
        }

        String shown() {
            return shown;
        }
    }

    boolean is(Type other) {
        return type == other;
    }

    boolean isOperator(String operator) {
        return type == Type.OPERATOR && text.equals(operator);
    }

    boolean isName(String name) {
        return type == Type.NAME && text.equals(name);
    }

    /** For messages. */
    String shown() {
        return type == Type.NAME || type == Type.OPERATOR ? "'" + text + "'" : type.shown();
    }
}
