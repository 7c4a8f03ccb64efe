package org.peft4j.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/**
 * Writes directories whole or not at all: the content is made in a temporary directory beside the target, every file is
 * forced to the disk, and one rename puts it in place. On failure the target is as it was and the temporary is deleted;
 * a crash can leave a directory named {@code .NAME.tmp-XXXXXXXX} behind.
 *
 * <p>Replacing takes two renames, since no system renames over a directory with files in it: a crash exactly between
 * them leaves the former directory under the temporary name, complete.
 */
public final class AtomicDirectories {
    private AtomicDirectories() {}

    /** Fills a new, empty directory. */
    @FunctionalInterface
    public interface Fills {
        void fill(Path directory) throws IOException;
    }

    /**
     * Writes one directory; the directories above it are made if they are missing.
     *
     * @param replace whether a target that has files in it is replaced, <em>with all it contains</em>; else it is an
     *                error ({@link FileAlreadyExistsException}), and an empty one is filled
     * @throws IOException naming the target; what the filling threw is its cause. A {@link MalformedFileException} of
     *                     it comes out as it is.
     */
    public static void write(Path target, boolean replace, Fills content) throws IOException {
        if (!replace && isTaken(target)) {
            throw new FileAlreadyExistsException(target.toString(), null, "is there already and not empty");
        }
        Path parent = AtomicFiles.directoryOf(target);
        try {
            Files.createDirectories(parent);
        } catch (IOException e) {
            throw FileReasons.explain(e instanceof FileSystemException file ? Path.of(file.getFile()) : parent, e);
        }
        Path temporary = Files.createDirectory(AtomicFiles.temporarySibling(target));
        try {
            content.fill(temporary);
            forceAll(temporary);
            move(temporary, target, replace);
        } catch (MalformedFileException e) {
            throw e;
        } catch (IOException e) {
            throw new IOException(
                    target + " could not be written (nothing at this path was changed): "
                            + (e.getMessage() == null ? e : e.getMessage()),
                    e);
        } finally {
            if (Files.exists(temporary, LinkOption.NOFOLLOW_LINKS)) {
                deleteQuietly(temporary);
            }
        }
        AtomicFiles.forceDirectory(AtomicFiles.directoryOf(target));
    }

    /** Deletes a directory and all in it, or a file; links are deleted, not followed. */
    public static void delete(Path path) throws IOException {
        Files.walkFileTree(path, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                FileChanges.about("delete " + file);
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path dir, @Nullable IOException failure) throws IOException {
                if (failure != null) {
                    throw failure;
                }
                FileChanges.about("delete " + dir);
                Files.delete(dir);
                return FileVisitResult.CONTINUE;
            }
        });
    }

    private static boolean isTaken(Path target) throws IOException {
        if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
            return false;
        }
        if (!Files.isDirectory(target, LinkOption.NOFOLLOW_LINKS)) {
            return true;
        }
        try (Stream<Path> files = Files.list(target)) {
            return files.findAny().isPresent();
        }
    }

    private static void move(Path temporary, Path target, boolean replace) throws IOException {
        if (!replace || !isTaken(target)) {
            Files.deleteIfExists(target); // an empty directory; one that was filled meanwhile is an error here
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
            return;
        }
        Path former = AtomicFiles.temporarySibling(target);
        Files.move(target, former, StandardCopyOption.ATOMIC_MOVE);
        try {
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            Files.move(former, target, StandardCopyOption.ATOMIC_MOVE);
            throw e;
        }
        deleteQuietly(former);
    }

    static void forceAll(Path directory) throws IOException {
        try (Stream<Path> paths = Files.walk(directory)) {
            for (Path path : (Iterable<Path>) paths::iterator) {
                if (Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
                    AtomicFiles.forceDirectory(path);
                } else if (Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS)) {
                    force(path);
                }
            }
        }
    }

    static void force(Path file) throws IOException {
        FileChanges.about("force " + file);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.force(true);
        }
    }

    /** As {@link #delete}, to clean up after a failure, whose own message matters more than one about the cleaning. */
    public static void deleteQuietly(Path directory) {
        try {
            delete(directory);
        } catch (IOException e) {
            // stays behind under its telling name
        }
    }
}
