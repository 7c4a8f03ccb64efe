package org.peft4j.host;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;

/**
 * The directory into which native libraries are unpacked before they are loaded: ours and libtorch's by JavaCPP, the
 * tokenizers', JNA's. Whoever can write there decides what this process runs; therefore it belongs to this user, nobody
 * else can write to it, and no other user can move it away. In this order:
 *
 * <ol>
 *   <li>{@code -Dpeft4j.cache=DIR}, else {@code PEFT4J_CACHE=DIR} in the environment; one that is not private is refused;
 *   <li>{@code ~/.cache/peft4j};
 *   <li>{@code peft4j-UID} in {@code java.io.tmpdir}, if it is ours alone;
 *   <li>a new directory there, removed at the end of the process.
 * </ol>
 */
public final class NativeCache {
    private static final String PROPERTY = "peft4j.cache";
    private static final String VARIABLE = "PEFT4J_CACHE";
    private static final int GROUP_MAY_WRITE = 0020, OTHERS_MAY_WRITE = 0002, STICKY = 01000;

    private static @Nullable Path chosen;

    private NativeCache() {}

    /** @throws ConfigException if there is no place for it, or the one that was asked for is not private */
    public static synchronized Path directory() {
        if (chosen == null) {
            String property = System.getProperty(PROPERTY);
            String setting = property != null ? property : System.getenv(VARIABLE);
            if (setting != null && !setting.isBlank()) {
                chosen = asked(setting, property != null ? PROPERTY : VARIABLE, user());
            } else {
                chosen = choose(UserPath.homes(), Path.of(System.getProperty("java.io.tmpdir")), user());
            }
        }
        return chosen;
    }

    static Path asked(String setting, String name, long user) {
        Path directory;
        try {
            directory = UserPath.of(setting).toAbsolutePath();
        } catch (IllegalArgumentException e) {
            throw new ConfigException(name + ": " + e.getMessage(), e);
        }
        try {
            make(directory);
            whyNotPrivate(directory, user).ifPresent(reason -> {
                throw new ConfigException(name + ": " + directory + " " + reason
                        + ", so that others could change the native libraries that are loaded from it; give a directory"
                        + " that only you can write (chmod 700)");
            });
        } catch (IOException e) {
            throw new ConfigException(
                    name + ": " + directory + ": " + reason(e)
                            + "; give a directory that you can write: native libraries are unpacked there",
                    e);
        }
        return directory;
    }

    static Path choose(List<Path> homes, Path temporary, long user) {
        List<Path> candidates = new ArrayList<>();
        homes.stream()
                .filter(Files::isDirectory) // one that is not there is not made
                .forEach(home -> candidates.add(home.resolve(".cache/peft4j")));
        candidates.add(temporary.toAbsolutePath().resolve("peft4j-" + user));
        for (Path candidate : candidates) {
            try {
                make(candidate);
                if (whyNotPrivate(candidate, user).isEmpty()) {
                    return candidate;
                }
            } catch (IOException e) {
                // The next one.
            }
        }
        try {
            Path fresh = Files.createTempDirectory(temporary, "peft4j-"); // with mode 700
            Runtime.getRuntime().addShutdownHook(new Thread(() -> removeTree(fresh)));
            return fresh;
        } catch (IOException e) {
            throw new ConfigException(
                    "no place to unpack native libraries: neither the home directory nor " + temporary
                            + " can be written; name a directory of your own with " + VARIABLE + " or -D" + PROPERTY,
                    e);
        }
    }

    private static void make(Path directory) throws IOException {
        if (!Files.isDirectory(directory)) {
            Path parent = directory.getParent();
            if (parent != null) {
                Files.createDirectories(parent);
            }
            try {
                Files.createDirectory(
                        directory, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
            } catch (FileAlreadyExistsException e) {
                if (!Files.isDirectory(directory)) {
                    throw e;
                } // else another process of ours was quicker
            }
        }
        if (!Files.isWritable(directory)) {
            throw new AccessDeniedException(directory.toString());
        }
    }

    /** Why somebody else could change what lies in a directory; empty if nobody can. */
    static Optional<String> whyNotPrivate(Path directory, long user) throws IOException {
        if (!directory.getFileSystem().supportedFileAttributeViews().contains("unix")) {
            return Optional.empty();
        }
        Path parent = directory.getParent();
        if (Files.isSymbolicLink(directory) && parent != null) { // whoever may write beside a link may turn it
            Optional<String> reason = reasonOfReal(parent.toRealPath(), user);
            if (reason.isPresent()) {
                return Optional.of("is a link in " + parent + ", which " + reason.get());
            }
        }
        return reasonOfReal(directory.toRealPath(), user);
    }

    private static Optional<String> reasonOfReal(Path directory, long user) throws IOException {
        long owner = owner(directory);
        if (owner != user) {
            return Optional.of("belongs to user " + owner + ", and this process runs as " + user);
        }
        if ((mode(directory) & (GROUP_MAY_WRITE | OTHERS_MAY_WRITE)) != 0) {
            return Optional.of("can be written by others");
        }
        for (Path above = directory.getParent(); above != null; above = above.getParent()) {
            if (owner(above) != user && owner(above) != 0) {
                return Optional.of("lies in " + above + ", which belongs to user " + owner(above));
            }
            if ((mode(above) & OTHERS_MAY_WRITE) != 0 && (mode(above) & STICKY) == 0) {
                return Optional.of("lies in " + above + ", which everybody can write");
            }
        }
        return Optional.empty();
    }

    private static long user() {
        try {
            return owner(Path.of("/proc/self"));
        } catch (IOException | UnsupportedOperationException e) {
            return 0; // no Linux: no native libraries, either
        }
    }

    private static long owner(Path file) throws IOException {
        return ((Number) Files.getAttribute(file, "unix:uid")).longValue();
    }

    private static int mode(Path file) throws IOException {
        return (Integer) Files.getAttribute(file, "unix:mode");
    }

    private static String reason(IOException e) {
        if (e instanceof AccessDeniedException) {
            return "permission denied";
        }
        if (e instanceof NoSuchFileException) {
            return "cannot be made";
        }
        return e instanceof FileAlreadyExistsException ? "is a file" : String.valueOf(e.getMessage());
    }

    private static void removeTree(Path root) {
        try {
            Files.walkFileTree(root, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                    Files.delete(file);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult postVisitDirectory(Path folder, @Nullable IOException e) throws IOException {
                    Files.delete(folder);
                    return FileVisitResult.CONTINUE;
                }
            });
        } catch (IOException e) {
            // The process ends; what could not be removed is left to whoever cleans the directory of temporary files.
        }
    }
}
