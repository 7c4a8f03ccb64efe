package org.peft4j.report;

import java.util.Arrays;
import java.util.List;
import org.peft4j.run.files.Curve;

/** A picture of curves over optimiser steps. */
record Chart(String title, List<Line> lines, boolean share) {
    /** How a line is drawn. */
    enum Style {
        /** Thin and light: the values themselves, under their mean. */
        FAINT,
        SOLID,
        /** A line with a mark at each value. */
        MARKED
    }

    /** One curve; {@code share} of the chart says that the values are between 0 and 1 and drawn as percentages. */
    record Line(String name, Curve curve, Style style, int color) {}

    /** Whether the picture begins at 0: losses, rates and speeds are compared with nothing. */
    boolean fromZero() {
        return !share
                && lines.stream()
                        .allMatch(line -> Arrays.stream(line.curve().y()).allMatch(y -> y >= 0));
    }

    Chart {
        lines = lines.stream().filter(line -> !line.curve().isEmpty()).toList();
    }
}
