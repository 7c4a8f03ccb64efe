package org.peft4j.io.fetch;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;
import org.peft4j.error.MalformedFileException;

/** Reads entries of a jar: bounded, since 1 MB of a jar can unpack to 1 GB, and with their checksums compared. */
final class ModelJar implements Closeable {
    private final Path path;
    private final ZipFile zip;

    private ModelJar(Path path, ZipFile zip) {
        this.path = path;
        this.zip = zip;
    }

    static ModelJar open(Path path) throws IOException {
        try {
            return new ModelJar(path, new ZipFile(path.toFile()));
        } catch (NoSuchFileException e) {
            throw new NoSuchFileException(path.toString(), null, "no such file");
        } catch (ZipException e) {
            throw new MalformedFileException(path, -1, "no valid jar: " + e.getMessage(), e);
        }
    }

    /** Turns an entry's bytes into a value. */
    interface Reads<T> {
        T read(Path name, InputStream in) throws IOException;
    }

    /**
     * Reads one entry.
     *
     * @param limit  most bytes it may unpack to
     * @param reader gets a name for messages, {@code x.jar!/entry}, and the bytes, of which at most {@code limit} come
     */
    <T> T read(String entryName, long limit, Reads<T> reader) throws IOException {
        Path name = Path.of(path + "!", entryName);
        ZipEntry entry = zip.getEntry(entryName);
        if (entry == null) {
            throw new MalformedFileException(path, -1, "jar must have '" + entryName + "'; it is another artifact");
        }
        if (entry.getSize() > limit) {
            throw new MalformedFileException(
                    name, -1, "entry has " + entry.getSize() + " bytes, at most " + limit + " allowed");
        }
        try (CheckedInputStream in = new CheckedInputStream(zip.getInputStream(entry), new CRC32())) {
            BoundedStream bounded = new BoundedStream(name, in, limit);
            T value = reader.read(name, bounded);
            bounded.transferTo(OutputStream.nullOutputStream()); // what the reader left, for the checksum
            if (in.getChecksum().getValue() != entry.getCrc()) {
                throw new MalformedFileException(
                        name,
                        -1,
                        "checksum must be " + Long.toHexString(entry.getCrc()) + ", got "
                                + Long.toHexString(in.getChecksum().getValue()));
            }
            return value;
        } catch (ZipException e) {
            throw new MalformedFileException(name, -1, "entry cannot be unpacked: " + e.getMessage(), e);
        }
    }

    @Override
    public void close() throws IOException {
        zip.close();
    }

    /** Fails when more than the limit comes: the size in the jar's directory may be a lie. */
    private static final class BoundedStream extends InputStream {
        private final Path name;
        private final InputStream in;
        private final long limit;
        private long left;

        BoundedStream(Path name, InputStream in, long limit) {
            this.name = name;
            this.in = in;
            this.limit = limit;
            this.left = limit;
        }

        @Override
        public int read() throws IOException {
            int value = in.read();
            count(value < 0 ? 0 : 1);
            return value;
        }

        @Override
        public int read(byte[] bytes, int offset, int length) throws IOException {
            int count = in.read(bytes, offset, length);
            count(Math.max(count, 0));
            return count;
        }

        private void count(int bytes) throws IOException {
            left -= bytes;
            if (left < 0) {
                throw new MalformedFileException(name, limit, "entry unpacks to more than " + limit + " bytes");
            }
        }
    }
}
