package org.peft4j.host;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The C library of this process, and what the native libraries need of it. */
public final class CLibrary {
    /** The latest symbol version that libtorch asks for; our libraries and the tokenizers are content with 2.34. */
    static final String NEEDED_GLIBC = "2.35";

    /** The same of libstdc++, which is the system's: GCC 12's. */
    static final String NEEDED_LIBSTDCXX = "3.4.30";

    static final String WHO_HAS_IT = "Debian 12, Ubuntu 22.04, Fedora 36, RHEL 10 and later have both";

    private static final Pattern RELEASE = Pattern.compile("GNU C Library [^\\n]{0,200}? version (\\d+\\.\\d+)");

    private CLibrary() {}

    /** One line for people: what is here and what is needed. */
    public static String description() {
        return here().orElse("not known") + "; needed: glibc " + NEEDED_GLIBC
                + " or newer (libtorch; peft4j's own libraries 2.34), and libstdc++ of GCC 12 or newer (GLIBCXX_"
                + NEEDED_LIBSTDCXX + ")";
    }

    /** "glibc 2.36", or "musl"; empty where it cannot be told. */
    static Optional<String> here() {
        try {
            return of(mapped());
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    static Optional<String> of(List<String> mapped) throws IOException {
        for (String file : mapped) {
            if (file.contains("/ld-musl-")) {
                return Optional.of("musl");
            }
            if (file.matches(".*/libc(\\.so\\.6|-2\\.\\d+\\.so)")) {
                return release(Path.of(file)).map(version -> "glibc " + version);
            }
        }
        return Optional.empty();
    }

    /** Whether it is known to be too old, or another one altogether. */
    static boolean unfit(String here) {
        return !here.startsWith("glibc ") || older(here.substring("glibc ".length()), NEEDED_GLIBC);
    }

    private static boolean older(String version, String than) {
        return Integer.parseInt(version.substring(version.indexOf('.') + 1))
                < Integer.parseInt(than.substring(than.indexOf('.') + 1));
    }

    /** The library says its release in a text that it prints when it is run. */
    private static Optional<String> release(Path library) throws IOException {
        Matcher matcher = RELEASE.matcher(new String(Files.readAllBytes(library), StandardCharsets.ISO_8859_1));
        return matcher.find() ? Optional.of(matcher.group(1)) : Optional.empty();
    }

    /** The files that this process has mapped as code. */
    private static List<String> mapped() throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"), StandardCharsets.ISO_8859_1)) {
            return lines.filter(line -> line.contains("/"))
                    .map(line -> line.substring(line.indexOf('/')))
                    .distinct()
                    .toList();
        }
    }
}
