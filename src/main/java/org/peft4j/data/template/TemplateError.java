package org.peft4j.data.template;

/** What is wrong with a template, or with what it was given. The evaluator adds the line, {@link ChatTemplate} the file. */
final class TemplateError extends RuntimeException {
    private static final long serialVersionUID = 1L;

    enum Kind {
        /** The template is not written in the language that we know. */
        SYNTAX,
        /** The language has it, we do not. */
        UNSUPPORTED,
        /** The template asks for what these messages do not have, or computes what cannot be computed. */
        FAULT,
        /** The template itself says no: {@code raise_exception}. */
        REFUSED,
        /** It takes too long, or makes too much. */
        LIMIT
    }

    private final Kind kind;
    private final int line;

    private TemplateError(Kind kind, String message, int line) {
        super(message, null, false, false); // no stack trace: it says nothing about a template
        this.kind = kind;
        this.line = line;
    }

    static TemplateError syntax(String message, int line) {
        return new TemplateError(Kind.SYNTAX, message, line);
    }

    static TemplateError unsupported(String what) {
        return new TemplateError(Kind.UNSUPPORTED, what + " is not supported", 0);
    }

    static TemplateError fault(String message) {
        return new TemplateError(Kind.FAULT, message, 0);
    }

    static TemplateError refused(String message) {
        return new TemplateError(Kind.REFUSED, message, 0);
    }

    static TemplateError limit(String message) {
        return new TemplateError(Kind.LIMIT, message, 0);
    }

    /** The same with a line, unless it has one: the innermost place counts. */
    TemplateError at(int place) {
        return line > 0 ? this : new TemplateError(kind, getMessage(), place);
    }

    Kind kind() {
        return kind;
    }

    /** Line in the template, from 1; 0 where it is not known. */
    int line() {
        return line;
    }
}
