package org.peft4j.io;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.peft4j.error.MalformedFileException;

/**
 * Replaces several files of a directory together, among others that stay: a reader sees the former set or the new one,
 * also after a crash. No system renames several files at once, so the new set is made in a working directory inside, forced
 * to the disk, and renamed to {@code .complete-save}: from then on it counts. Then its files are put in their places one by
 * one (as hard links, so nothing is copied) and the directory goes.
 *
 * <pre>
 * {@link #begin}    DIRECTORY/.complete-save.tmp-XXXXXXXX/…      a crash leaves the former set, and this beside it
 * {@link #commit}   DIRECTORY/.complete-save/…                   counts; a crash leaves the new set here
 * {@link #settle}   DIRECTORY/…                                  in their places; whoever writes next does it after a crash
 * </pre>
 *
 * Readers ask {@link #current} where the set is. Others, who only know the places, find after a crash in the middle of
 * {@link #settle} the files that came so far; the caller says which of them comes last.
 */
public final class AtomicFileSets {
    /** Holds a set that is complete while its files are put in their places. */
    public static final String COMPLETE = ".complete-save";

    private static final String WITHOUT_DOT = COMPLETE.substring(1); // a temporary name begins with one already

    private AtomicFileSets() {}

    /** Finds what of a directory goes away when a complete set takes its place. */
    @FunctionalInterface
    public interface Former {
        /** @param set the complete set
         *  @return in the order in which they are deleted */
        List<Path> of(Path set) throws IOException;
    }

    /**
     * Where the files of the set are: in the directory, or, after a crash, in the complete set that waits in it.
     *
     * @throws MalformedFileException if somebody else wrote newer files beside a set that waits
     */
    public static Path current(Path directory) throws IOException {
        Path complete = directory.resolve(COMPLETE);
        if (!Files.isDirectory(complete, LinkOption.NOFOLLOW_LINKS)) {
            return directory;
        }
        refuseNewer(directory, complete);
        return complete;
    }

    /** The set's own files in their places have its times; only others can be newer. */
    private static void refuseNewer(Path directory, Path complete) throws IOException {
        for (Path file : files(complete, "")) {
            Path placed = placed(directory, complete, file);
            try {
                if (Files.getLastModifiedTime(placed).compareTo(Files.getLastModifiedTime(file)) > 0) {
                    throw new MalformedFileException(
                            directory,
                            -1,
                            "it has " + complete.relativize(file)
                                    + " twice: the one of a save that was interrupted, in "
                                    + COMPLETE
                                    + ", and a newer one that something else wrote; delete " + COMPLETE
                                    + " or take the newer files away");
                }
            } catch (NoSuchFileException e) {
                continue; // not in its place yet, or a writer has just put the set in its places
            }
        }
    }

    /** Makes an empty working directory. */
    public static Path begin(Path directory) throws IOException {
        Path working = AtomicFiles.temporarySibling(directory.resolve(WITHOUT_DOT));
        FileChanges.about("make " + working);
        return Files.createDirectory(working);
    }

    /** The working directory becomes the set. There must be none that waits: {@link #settle} comes before. */
    public static void commit(Path directory, Path working) throws IOException {
        AtomicDirectories.forceAll(working);
        FileChanges.about("commit " + working);
        Files.move(working, directory.resolve(COMPLETE), StandardCopyOption.ATOMIC_MOVE);
        AtomicFiles.forceDirectory(directory);
    }

    /**
     * Puts the files of a complete set in their places, if there is one.
     *
     * @param former what goes away before
     * @param last name of the file that comes last: without it nobody takes the others for a set
     */
    public static void settle(Path directory, Former former, String last) throws IOException {
        Path complete = directory.resolve(COMPLETE);
        if (!Files.isDirectory(complete, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        refuseNewer(directory, complete);
        for (Path gone : former.of(complete)) {
            AtomicDirectories.delete(gone);
        }
        for (Path file : files(complete, last)) {
            Path target = placed(directory, complete, file);
            Files.createDirectories(AtomicFiles.directoryOf(target));
            put(file, target);
        }
        AtomicFiles.forceDirectory(directory);
        Path retired = AtomicFiles.temporarySibling(directory.resolve(WITHOUT_DOT));
        FileChanges.about("retire " + complete);
        Files.move(complete, retired, StandardCopyOption.ATOMIC_MOVE);
        AtomicDirectories.delete(retired);
    }

    /** Where a file of a set belongs; it may be in a folder of it. */
    private static Path placed(Path directory, Path set, Path file) {
        return directory.resolve(set.relativize(file));
    }

    private static List<Path> files(Path set, String last) throws IOException {
        try (Stream<Path> files = Files.walk(set)) {
            List<Path> sorted =
                    new ArrayList<>(files.filter(file -> !Files.isDirectory(file, LinkOption.NOFOLLOW_LINKS))
                            .toList());
            sorted.sort(Comparator.comparing((Path file) -> file.equals(set.resolve(last)))
                    .thenComparing(Comparator.naturalOrder()));
            return sorted;
        }
    }

    private static void put(Path file, Path target) throws IOException {
        Path temporary = AtomicFiles.temporarySibling(target);
        try {
            link(file, temporary);
            FileChanges.about("put " + target);
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            // A rename does nothing where both names are the same file already, as in a second attempt.
            Files.deleteIfExists(temporary);
        }
    }

    private static void link(Path file, Path name) throws IOException {
        FileChanges.about("link " + name);
        try {
            Files.createLink(name, file);
        } catch (UnsupportedOperationException | FileSystemException e) {
            Files.copy(file, name, StandardCopyOption.COPY_ATTRIBUTES); // a file system without hard links
            AtomicDirectories.force(name);
        }
    }
}
