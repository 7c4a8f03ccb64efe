package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.io.FileReasons;
import org.peft4j.io.Streams;

/** Checks of paths before any work, with messages that name the option or setting. */
final class Inputs {
    private Inputs() {}

    /** Refuses a path that is not there; null is fine. */
    static void exists(@Nullable Path path, String setting) {
        String absence = path == null ? null : FileReasons.absence(path);
        if (absence != null) {
            throw new ConfigException(setting + ": " + path + ": " + absence
                    + (path.isAbsolute() ? "" : " (seen from " + Path.of("").toAbsolutePath() + ")"));
        }
    }

    /** Refuses data that cannot be read; a pipe and the standard input are fine, and are not opened; null is fine. */
    static void isData(@Nullable Path path, String setting) {
        if (path == null || Streams.isStandardInput(path)) {
            return;
        }
        exists(path, setting);
        if (Files.isDirectory(path)) {
            throw new ConfigException(setting + ": " + path + " is a directory; give a file with rows");
        }
    }

    /** Refuses a place where no file can be made. */
    static void canBecomeFile(Path out, String setting) {
        if (Files.isDirectory(out)) {
            throw new ConfigException(setting + ": " + out + " is a directory; give the file to write");
        }
        Path parent = out.toAbsolutePath().getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw new ConfigException(setting + ": " + out
                    + (parent != null && Files.exists(parent)
                            ? ": " + parent + " is a file, not a directory"
                            : ": there is no directory " + parent));
        }
    }

    /** Refuses to write over what is read. */
    static void isNot(Path out, String setting, Path input) throws IOException {
        if (Files.exists(out) && Files.exists(input) && Files.isSameFile(out, input)) {
            throw new ConfigException(setting + ": " + out + " is the input itself; choose another file");
        }
    }
}
