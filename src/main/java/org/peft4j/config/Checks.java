package org.peft4j.config;

import java.util.HashSet;
import java.util.List;

/** What the records of this package ask of their values; every message begins with the component's name. */
final class Checks {
    /** More tokens than any model has positions. */
    private static final int LONGEST = 1 << 24;

    private Checks() {}

    static void atLeast(long least, long value, String name) {
        if (value < least) {
            throw new IllegalArgumentException(name + " must be at least " + least + ", got " + value);
        }
    }

    static void atLeastZero(double value, String name) {
        if (!(value >= 0 && value < Double.POSITIVE_INFINITY)) { // also refuses NaN
            throw new IllegalArgumentException(name + " must be at least 0, got " + value);
        }
    }

    static void positive(double value, String name) {
        if (!(value > 0 && value < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException(name + " must be more than 0, got " + value);
        }
    }

    static void belowOne(double value, String name) {
        if (!(value >= 0 && value < 1)) {
            throw new IllegalArgumentException(name + " must be at least 0 and below 1, got " + value);
        }
    }

    static void share(double value, String name) {
        if (!(value >= 0 && value <= 1)) {
            throw new IllegalArgumentException(name + " must be in [0, 1], got " + value);
        }
    }

    static void column(String value, String name) {
        if (value.isEmpty()) {
            throw new IllegalArgumentException(name + " must name a column, got an empty name");
        }
    }

    static void maxLength(int value) {
        atLeast(1, value, "maxLength");
        if (value > LONGEST) {
            throw new IllegalArgumentException("maxLength must be at most " + LONGEST + ", got " + value);
        }
    }

    /** None, or at least {@code least} different ones. */
    static void labels(List<String> labels, int least) {
        if (!labels.isEmpty() && labels.size() < least) {
            throw new IllegalArgumentException(
                    "labels must be at least two, or none to find them in the data, got " + labels);
        }
        if (new HashSet<>(labels).size() != labels.size()) {
            throw new IllegalArgumentException("labels must differ, got " + labels);
        }
    }
}
