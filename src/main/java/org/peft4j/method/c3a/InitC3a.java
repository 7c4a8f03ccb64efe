package org.peft4j.method.c3a;

import java.util.Locale;

/** How C³A's kernels begin. */
public enum InitC3a {
    /** Zero, so that a new adapter changes nothing: PEFT's {@code true}. */
    ZEROS,
    /** Uniform within √(6 / (in + out)). */
    XAVIER_UNIFORM,
    /** Uniform within 1 / √in. */
    KAIMING_UNIFORM,
    /** Normal with standard deviation 1. */
    GAUSSIAN;

    /** Its name in files. */
    public String fileName() {
        return name().toLowerCase(Locale.ROOT);
    }
}
