package org.peft4j.run.files;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;

/**
 * One run at a time writes into a directory. Between processes the lock is the system's, on the file {@code .lock}, which says
 * who holds it: it goes with its process, so a file that a killed one left behind blocks nobody. Within this process it is a
 * table, since the system's lock belongs to the process, and closing any channel of the file would give it up.
 */
public final class RunLock implements AutoCloseable {
    static final String FILE = ".lock";

    private static final Map<Path, String> HELD = new HashMap<>();

    private final Path directory;
    private final FileChannel channel;

    private RunLock(Path directory, FileChannel channel) {
        this.directory = directory;
        this.channel = channel;
    }

    /**
     * Refuses a directory that a run writes into; leaves nothing in it, and need not exist.
     *
     * @throws ConfigException saying who does
     */
    public static void check(Path output) throws IOException {
        synchronized (HELD) {
            if (!Files.isDirectory(output)) {
                return;
            }
            Path directory = output.toRealPath();
            refuseIfHeldHere(output, directory);
            Path file = directory.resolve(FILE);
            if (Files.exists(file)) {
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                    lock(output, file, channel); // goes with the channel
                } catch (NoSuchFileException e) {
                    // its run has ended just now
                }
            }
        }
    }

    /**
     * Takes the lock of a directory, which exists.
     *
     * @throws ConfigException saying who holds it
     */
    public static RunLock take(Path output) throws IOException {
        synchronized (HELD) {
            Path directory = output.toRealPath();
            refuseIfHeldHere(output, directory);
            FileChannel channel = null;
            while (channel == null) {
                channel = tryTake(output, directory.resolve(FILE));
            }
            HELD.put(
                    directory,
                    "a run of this process, begun by thread '"
                            + Thread.currentThread().getName() + "'");
            return new RunLock(directory, channel);
        }
    }

    /** Null: the file was deleted under us, by a run that ended; try again. */
    private static @Nullable FileChannel tryTake(Path output, Path file) throws IOException {
        try {
            Files.createFile(file);
        } catch (FileAlreadyExistsException e) {
            // of another run: one that goes on, or one that was killed
        }
        FileChannel channel = null;
        boolean taken = false;
        try {
            Object before = key(file);
            channel = FileChannel.open(file, StandardOpenOption.WRITE);
            lock(output, file, channel);
            if (before.equals(key(file))) { // else we hold the lock of a file that is no longer there
                channel.truncate(0);
                channel.write(ByteBuffer.wrap(me().getBytes(StandardCharsets.UTF_8)));
                taken = true;
            }
        } catch (NoSuchFileException e) {
            return null;
        } finally {
            if (channel != null && !taken) {
                channel.close();
            }
        }
        return taken ? channel : null;
    }

    private static String me() {
        return "process " + ProcessHandle.current().pid() + " since "
                + Instant.now().truncatedTo(ChronoUnit.SECONDS);
    }

    /** What tells a file from another that had its name before. */
    private static Object key(Path file) throws IOException {
        Object key = Files.readAttributes(file, BasicFileAttributes.class).fileKey();
        return key == null ? file : key;
    }

    private static void lock(Path output, Path file, FileChannel channel) throws IOException {
        FileLock lock;
        try {
            lock = channel.tryLock();
        } catch (OverlappingFileLockException e) {
            throw held(output, "a run of this process");
        }
        if (lock == null) {
            throw held(output, Files.readString(file).strip());
        }
    }

    private static void refuseIfHeldHere(Path output, Path directory) {
        String holder = HELD.get(directory);
        if (holder != null) {
            throw held(output, holder);
        }
    }

    private static ConfigException held(Path output, String holder) {
        return new ConfigException("output: " + output + " is being written by "
                + (holder.isEmpty() ? "another process" : holder)
                + "; wait until it has ended, or choose another directory");
    }

    @Override
    public void close() throws IOException {
        synchronized (HELD) {
            if (channel.isOpen() && HELD.remove(directory) != null) {
                try (channel) {
                    Files.deleteIfExists(directory.resolve(FILE)); // while we hold it
                }
            }
        }
    }
}
