package org.peft4j.data.tokenizer;

/**
 * How long a text the library may get at once. It ends the process when memory is short, or when a regular expression
 * takes more than ten million steps back, so both are bounded before.
 */
final class TextLimit {
    private static final long MAX_CHARACTERS = 16_000_000;
    private static final long MAX_STEPS = 5_000_000;

    private double growth = 1;
    private int unicode = 1;
    private long longest = MAX_CHARACTERS;

    /** A normalizer makes up to {@code factor} characters of any one. */
    void grow(double factor) {
        growth *= Math.max(1, factor);
    }

    /** A normalizer makes up to {@code factor} characters of one that is not ASCII; what one takes apart stays so. */
    void growUnicode(int factor) {
        unicode = Math.max(unicode, factor);
    }

    double growth() {
        return growth;
    }

    /** A regular expression takes this many steps for a text. */
    void steps(RegularExpression.Steps steps) {
        if (steps.degree() > 0) {
            longest = Math.min(longest, MAX_STEPS / steps.factor());
        }
    }

    /** The longest text of ASCII letters, in characters. */
    int longest() {
        return (int) Math.max(1, longest / growth);
    }

    /** Whether the library may get this text. */
    boolean allows(String text) {
        if ((long) text.length() * unicode <= longest()) {
            return true;
        }
        long weight = 0;
        for (int i = 0; i < text.length(); i++) {
            weight += weight(text.charAt(i));
        }
        return weight <= longest();
    }

    private int weight(char c) {
        if (c < 0x80) {
            return 1;
        }
        boolean squeezed = c >= 0xF900 || (c >= 0x3200 && c < 0x3400); // ligatures, squared words and the like
        return squeezed ? unicode : Math.min(unicode, 4);
    }
}
