package org.peft4j.io;

import java.nio.file.Files;
import java.nio.file.Path;

/** What a path is, in words for messages. */
final class PathKinds {
    private PathKinds() {}

    static String describe(Path path) {
        if (Files.isDirectory(path)) {
            return "a directory";
        }
        if (Files.isRegularFile(path)) {
            return "a file";
        }
        if (Files.exists(path)) {
            return "neither file nor directory";
        }
        return Files.isSymbolicLink(path) ? "a link that leads nowhere" : "not there";
    }
}
