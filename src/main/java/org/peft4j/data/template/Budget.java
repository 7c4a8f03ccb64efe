package org.peft4j.data.template;

/**
 * What one rendering may cost. A template comes with a model from anywhere: it may neither run for ever, nor fill the
 * memory, nor the stack. The limits are far above what published templates need for the longest conversations.
 */
final class Budget {
    /** Evaluated nodes, elements of lists made, and blocks of {@link #CHARS_A_STEP} characters read or made. */
    static final long MAX_STEPS = 10_000_000;

    /** Evaluations inside of each other: nested expressions, statements, macros that call macros. */
    static final int MAX_DEPTH = 1000;

    /** Characters of any text, the rendered one included. */
    static final int MAX_TEXT = 16 << 20;

    /** Bits of a whole number. */
    static final int MAX_BITS = 4096;

    private static final int CHARS_A_STEP = 16;
    private static final int CALL = 5;

    private long steps;
    private int depth;

    void step() {
        steps(1);
    }

    void steps(long count) {
        steps += Math.min(count, MAX_STEPS + 1);
        if (steps > MAX_STEPS) {
            throw TemplateError.limit("rendering takes more than " + MAX_STEPS + " steps");
        }
    }

    /** A text of this length is read or made. */
    void text(long chars) {
        if (chars > MAX_TEXT) {
            throw TemplateError.limit("a text has more than " + MAX_TEXT + " characters");
        }
        steps(1 + chars / CHARS_A_STEP);
    }

    /** Looking for one text in another takes in the worst case the product of their lengths. */
    void search(long chars, long wanted) {
        text(chars);
        if (wanted > 64) {
            steps((chars * wanted) >> 14);
        }
    }

    void enter() {
        enter(1);
    }

    private void enter(int levels) {
        depth += levels;
        if (depth > MAX_DEPTH) {
            throw TemplateError.limit(
                    "evaluations are nested more than " + MAX_DEPTH + " deep (a macro that calls itself?)");
        }
    }

    void leave() {
        depth--;
    }

    /** What a macro does takes as much of the stack as {@link #CALL} expressions. */
    void enterCall() {
        enter(CALL);
    }

    void leaveCall() {
        depth -= CALL;
    }
}
