package org.peft4j.data;

import java.math.BigDecimal;

/** One text for each number: {@code 1}, {@code 1.0} and {@code 1e0} are "1", {@code 0.50} is "0.5". */
final class NumberText {
    /** Longer ones keep their exponent: {@code 1e999999} in full would fill the memory. */
    private static final int MOST_DIGITS = 40;

    private NumberText() {}

    /** @param number a finite one */
    static String of(Number number) {
        BigDecimal shortest = decimal(number).stripTrailingZeros();
        boolean plain = Math.abs((long) shortest.scale()) <= MOST_DIGITS;
        return plain ? shortest.toPlainString() : shortest.toString();
    }

    private static BigDecimal decimal(Number number) {
        return number instanceof BigDecimal decimal ? decimal : new BigDecimal(number.toString());
    }
}
