package org.peft4j.host;

import java.util.ServiceLoader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.spi.SLF4JServiceProvider;

/**
 * Where log lines go: to SLF4J. A program without a provider wants no log, and is not told at each start that it has none;
 * what SLF4J says about two providers, or an old one, is said.
 */
public final class Log {
    private static final String VERBOSITY = "slf4j.internal.verbosity";

    static {
        if (System.getProperty(VERBOSITY) == null && !hasProvider()) {
            try (TemporaryProperty quiet = TemporaryProperty.set(VERBOSITY, "ERROR")) {
                LoggerFactory.getILoggerFactory(); // reads it, once
            }
        }
    }

    private Log() {}

    public static Logger of(Class<?> type) {
        return LoggerFactory.getLogger(type);
    }

    /** To be called before a library that logs is used. */
    public static void ready() {
        // The class is initialised.
    }

    private static boolean hasProvider() {
        ClassLoader loader = LoggerFactory.class.getClassLoader();
        return System.getProperty("slf4j.provider") != null
                || LoggerFactory.class.getResource("/org/slf4j/impl/StaticLoggerBinder.class") != null // of SLF4J 1
                || ServiceLoader.load(SLF4JServiceProvider.class, loader).stream()
                        .findAny()
                        .isPresent();
    }
}
