package org.peft4j.io;

import java.io.IOException;
import java.io.InputStream;
import java.lang.ref.WeakReference;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/**
 * Paths that mean no file on a disk: {@code -} and {@code /dev/stdin} are the standard input, {@code /dev/stdout} is the
 * standard output, and a named pipe or {@code /dev/fd/63} gives its bytes only once. (A file that is called {@code -} is
 * written {@code ./-}.)
 */
public final class Streams {
    private static final Path INPUT_NAME = Path.of("standard input");
    private static final Set<String> INPUT = Set.of("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0");
    private static final Set<String> OUTPUT = Set.of("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1");

    /** The stream that was read to its end, or is being read. */
    private static @Nullable WeakReference<InputStream> taken;

    private Streams() {}

    /** Whether a path to be read means the standard input. */
    public static boolean isStandardInput(Path path) {
        return INPUT.contains(path.toString());
    }

    /** Whether a path to be written means the standard output. */
    public static boolean isStandardOutput(Path path) {
        return OUTPUT.contains(path.toString());
    }

    /** Whether there is something at the path that is neither file nor directory: a pipe, a device. */
    public static boolean isPipe(Path path) {
        return Files.exists(path) && !Files.isRegularFile(path) && !Files.isDirectory(path);
    }

    /** How messages call what is read: the path, or "standard input". */
    public static Path name(Path path) {
        return isStandardInput(path) ? INPUT_NAME : path;
    }

    /**
     * Opens a file, a pipe or the standard input for reading, once.
     *
     * @throws MalformedFileException for a directory, and where the standard input is read a second time
     */
    public static InputStream open(Path path) throws IOException {
        if (isStandardInput(path)) {
            return standardInput();
        }
        FileReasons.checkNoDirectory(path);
        if (isPipe(path)) {
            return new InterruptibleInput(() -> Files.newInputStream(path));
        }
        try {
            return Files.newInputStream(path);
        } catch (IOException e) {
            throw FileReasons.explain(path, e);
        }
    }

    private static synchronized InputStream standardInput() {
        InputStream in = System.in;
        if (taken != null && taken.get() == in) {
            throw new MalformedFileException(
                    INPUT_NAME, -1, "it can be read only once, and was read before; save it to a file, and give that");
        }
        taken = new WeakReference<>(in);
        return new InterruptibleInput(() -> in);
    }
}
