package org.peft4j.host;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Paths as people write them into files and options: {@code ~} and {@code ~/…} are the home directory, because no shell
 * has replaced them there. A file whose name begins with a tilde is written {@code ./~name}.
 */
public final class UserPath {
    private UserPath() {}

    /**
     * @throws IllegalArgumentException if the text is no path here; the message says why and what to do, and the caller
     *     adds which setting it is
     */
    public static Path of(String text) {
        return of(text, home());
    }

    static Path of(String text, Optional<Path> home) {
        if (text.equals("~") || text.startsWith("~/")) {
            Path start = home.orElseThrow(
                    () -> new IllegalArgumentException(
                            "'" + text
                                    + "' begins at the home directory, and this user has none (HOME is not set); write the whole path"));
            return text.length() <= 2
                    ? start
                    : start.resolve(path(text.substring(2).replaceFirst("^/+", "")));
        }
        if (text.startsWith("~")) {
            throw new IllegalArgumentException(
                    "'" + text + "': only ~/… (your own home directory) is understood; write another"
                            + " user's home as a whole path, a file of that name as ./" + text);
        }
        return path(text);
    }

    private static Path path(String text) {
        try {
            return Path.of(text);
        } catch (InvalidPathException e) {
            String charset = System.getProperty("sun.jnu.encoding", "");
            boolean plainAscii = text.chars().allMatch(c -> c > 0 && c < 128);
            if (plainAscii || charset.equals("UTF-8")) {
                throw new IllegalArgumentException("'" + text + "' is no path: " + e.getReason(), e);
            }
            throw new IllegalArgumentException(
                    "'" + text + "': Java cannot open names with such letters under this locale (" + locale()
                            + ": file names are " + charset + "); start Java with LC_ALL=C.UTF-8 in its environment",
                    e);
        }
    }

    private static String locale() {
        Map<String, String> environment = System.getenv();
        for (String name : new String[] {"LC_ALL", "LC_CTYPE", "LANG"}) {
            String value = environment.get(name);
            if (value != null && !value.isEmpty()) {
                return name + "=" + value;
            }
        }
        return "none is set";
    }

    /** The user's home directory: {@code HOME} as for a shell, else what the system has for the user. */
    static Optional<Path> home() {
        return homes().stream().findFirst();
    }

    /** Both, where they differ. */
    static List<Path> homes() {
        return homes(System.getenv("HOME"), System.getProperty("user.home"));
    }

    static List<Path> homes(@Nullable String variable, @Nullable String property) {
        return Stream.of(variable, property)
                .filter(candidate ->
                        candidate != null && candidate.startsWith("/")) // Java says "?" where there is none
                .map(UserPath::path)
                .distinct()
                .toList();
    }
}
