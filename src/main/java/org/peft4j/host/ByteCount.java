package org.peft4j.host;

import java.util.Locale;

/** Sizes of memory for messages. */
public final class ByteCount {
    private static final String[] UNITS = {"kB", "MB", "GB", "TB"};
    private static final double STEP = 1000;

    private ByteCount() {}

    /** {@code 812 bytes}, {@code 1.5 MB}, {@code 8.6 GB}: powers of 1000. */
    public static String text(long bytes) {
        if (bytes < STEP) {
            return bytes + " bytes";
        }
        double size = bytes / STEP;
        int unit = 0;
        while (size >= STEP && unit + 1 < UNITS.length) {
            size /= STEP;
            unit++;
        }
        return String.format(Locale.ROOT, "%.1f %s", size, UNITS[unit]);
    }
}
