package org.peft4j.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HexFormat;
import java.util.concurrent.ThreadLocalRandom;
import org.peft4j.error.MalformedFileException;

/**
 * Writes files whole or not at all. The bytes go to a temporary file beside the target and are forced to the disk, then
 * the temporary is renamed over the target in one step and the directory is forced. On any failure, also a full disk,
 * what was at the target before is still there, unchanged, and the temporary is deleted; a crash can at most leave a
 * file named {@code .NAME.tmp-XXXXXXXX} behind. A reader never sees half a file, and who has the former file mapped
 * keeps it.
 *
 * <p>A target that is a symbolic link is replaced itself; the file it points to (in a hub cache, say) stays as it was.
 */
public final class AtomicFiles {
    private AtomicFiles() {}

    /** Writes the content of a file; it may use position and size of the channel as it likes, but not close it. */
    @FunctionalInterface
    public interface WritesTo {
        void writeTo(FileChannel out) throws IOException;
    }

    /**
     * Writes one file. The directory has to exist.
     *
     * @throws IOException naming the target, if anything failed; what the writer threw is its cause. A
     *                     {@link MalformedFileException} of the writer (it may copy from a file) comes out as it is.
     */
    public static void write(Path target, WritesTo writer) throws IOException {
        checkIsPlace(target);
        Path temporary = temporarySibling(target);
        boolean done = false;
        try {
            FileChanges.about("make " + temporary);
            try (FileChannel out =
                    FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                writer.writeTo(out);
                FileChanges.about("force " + temporary);
                out.force(true);
            }
            FileChanges.about("rename " + temporary);
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            done = true;
            forceDirectory(directoryOf(target));
        } catch (MalformedFileException e) {
            throw e;
        } catch (IOException e) {
            throw new IOException(
                    target + " could not be written" + (done ? "" : " (nothing at this path was changed)") + ": "
                            + (e.getMessage() == null ? e : e.getMessage()),
                    e);
        } finally {
            if (!done) {
                delete(temporary);
            }
        }
    }

    /** A rename would put a file in the place of a device (with a right to it: for everybody) or of a directory. */
    private static void checkIsPlace(Path target) throws MalformedFileException {
        if (Files.isDirectory(target)) {
            throw new MalformedFileException(target, -1, "is a directory; a file cannot take its place");
        }
        if (Streams.isPipe(target) || Streams.isStandardOutput(target)) {
            throw new MalformedFileException(
                    target, -1, "is a device or a pipe; a file that is written whole cannot take its place");
        }
    }

    /** Writes a text as UTF-8. */
    public static void writeString(Path target, String text) throws IOException {
        byte[] bytes = Utf8.encode(text);
        write(target, out -> Bytes.writeFully(out, ByteBuffer.wrap(bytes)));
    }

    /** Cleans up after a failure, whose own message matters more than one about the cleaning. */
    private static void delete(Path temporary) {
        FileChanges.about("delete " + temporary);
        try {
            Files.deleteIfExists(temporary);
        } catch (IOException e) {
            // stays behind under its telling name
        }
    }

    /** A free name beside the target, on the same file system. */
    static Path temporarySibling(Path target) {
        Path name = target.toAbsolutePath().getFileName();
        if (name == null) {
            throw new IllegalArgumentException("target must be a file or directory with a name, got " + target);
        }
        String random = HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt());
        return directoryOf(target).resolve("." + name + ".tmp-" + random);
    }

    static Path directoryOf(Path target) {
        Path parent = target.toAbsolutePath().getParent();
        return parent == null ? target.toAbsolutePath() : parent;
    }

    /** Makes renames in a directory survive a power cut. Windows cannot open directories, and does not need it. */
    static void forceDirectory(Path directory) throws IOException {
        if (System.getProperty("os.name").startsWith("Windows")) {
            return;
        }
        FileChanges.about("force " + directory);
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }
}
