package org.peft4j.method.bottleneck;

/**
 * By what the bottleneck's result is multiplied.
 *
 * @param kind a number, or what is trained
 * @param factor the number; 1 where it is trained
 */
public record Scaling(Kind kind, double factor) {
    /** What is trained of it. */
    public enum Kind {
        /** Nothing. */
        FIXED,
        /** One number for each bottleneck, 1 at the start. */
        LEARNED,
        /** A number for each element of a row, 1 at the start. */
        CHANNEL
    }

    /** One number for each bottleneck, trained. */
    public static final Scaling LEARNED = new Scaling(Kind.LEARNED, 1);

    /** A number for each element of a row, trained. */
    public static final Scaling CHANNEL = new Scaling(Kind.CHANNEL, 1);

    private static final double MOST = 1e6;

    public Scaling {
        if (!(Math.abs(factor) <= MOST) || factor == 0) { // also refuses NaN
            throw new IllegalArgumentException(
                    "scaling must be a number other than 0 and at most 1e6, learned, or channel, got " + factor);
        }
        if (kind != Kind.FIXED && factor != 1) {
            throw new IllegalArgumentException("scaling must begin with 1 where it is trained, got " + factor);
        }
    }

    /** A fixed number. */
    public static Scaling of(double factor) {
        return new Scaling(Kind.FIXED, factor);
    }

    /**
     * As files have it.
     *
     * @param text a number, learned, or channel
     */
    public static Scaling parse(String text) {
        switch (text) {
            case "learned":
                return LEARNED;
            case "channel":
                return CHANNEL;
            default:
                break;
        }
        try {
            return of(Double.parseDouble(text));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("scaling must be a number, learned, or channel, got '" + text + "'", e);
        }
    }

    /** A number, or a word. */
    public Object toTree() {
        return kind == Kind.FIXED ? (Object) factor : kind == Kind.LEARNED ? "learned" : "channel";
    }

    @Override
    public String toString() {
        return String.valueOf(toTree());
    }
}
