package org.peft4j.io;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/** Why a file cannot be used, in our words: the system's are bare names, or in the language of the machine. */
public final class FileReasons {
    private static final int LONGEST_NAME = 255;

    private FileReasons() {}

    /**
     * Why nothing can be read at a path, such as "no such file or directory"; null if something is there. Opens nothing:
     * a pipe is not disturbed.
     */
    public static @Nullable String absence(Path path) {
        try {
            Files.readAttributes(path, BasicFileAttributes.class);
            return null;
        } catch (IOException e) {
            return reason(path, e);
        }
    }

    /** The exception to throw where opening a file for reading failed: the same kind, with a reason. */
    public static IOException explain(Path path, IOException e) {
        if (!(e instanceof FileSystemException)) {
            return e;
        }
        String reason = absence(path);
        FileSystemException clear;
        if (reason == null && e instanceof AccessDeniedException) {
            clear = new AccessDeniedException(path.toString(), null, "permission denied");
        } else if (reason == null && e instanceof FileAlreadyExistsException) {
            clear = new FileAlreadyExistsException(path.toString(), null, "is a file; a directory is needed there");
        } else if (reason != null) {
            clear = new NoSuchFileException(path.toString(), null, reason);
        } else {
            return e;
        }
        clear.initCause(e);
        return clear;
    }

    /** Refuses a directory where a file is to be read. */
    public static void checkNoDirectory(Path path) throws MalformedFileException {
        if (Files.isDirectory(path)) {
            throw new MalformedFileException(path, -1, "is a directory, not a file");
        }
    }

    private static String reason(Path path, IOException e) {
        Path absolute = path.toAbsolutePath();
        if (e instanceof AccessDeniedException) {
            return "permission denied";
        }
        for (Path part = absolute.getRoot(); part != null; part = next(part, absolute)) {
            Path name = part.getFileName();
            if (name != null && name.toString().length() > LONGEST_NAME) {
                return "no such file or directory (a name of more than " + LONGEST_NAME + " letters)";
            }
            if (Files.isSymbolicLink(part) && !Files.exists(part)) {
                return e instanceof NoSuchFileException
                        ? (part.equals(absolute) ? "is" : part + " is") + " a link to " + target(part)
                                + ", which is not there"
                        : (part.equals(absolute) ? "is" : part + " is") + " a link that leads back to itself";
            }
            if (!part.equals(absolute) && Files.exists(part) && !Files.isDirectory(part)) {
                return "no such file or directory: " + part + " is a file, not a directory";
            }
        }
        boolean known = e instanceof NoSuchFileException
                || !(e instanceof FileSystemException file)
                || file.getReason() == null;
        return known ? "no such file or directory" : ((FileSystemException) e).getReason();
    }

    /** The path one name longer on the way to {@code whole}, or null behind its end. */
    private static @Nullable Path next(Path part, Path whole) {
        int names = part.getNameCount();
        return names == whole.getNameCount() ? null : part.resolve(whole.getName(names));
    }

    private static String target(Path link) {
        try {
            return "'" + Files.readSymbolicLink(link) + "'";
        } catch (IOException e) {
            return "something";
        }
    }
}
