package org.peft4j.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Locale;
import org.peft4j.error.MalformedFileException;

/** Moving bytes between channels and buffers, whole or with an exception. */
public final class Bytes {
    /**
     * Most bytes in one call. A channel copies a heap buffer through a direct one of the same size and keeps that for
     * the thread's life (jdk.nio.maxCachedBufferSize), so large buffers go through in windows.
     */
    private static final int WINDOW = 1 << 20;

    private Bytes() {}

    /** Opens a file for reading; a failure says what is wrong with it. */
    public static FileChannel open(Path path) throws IOException {
        FileReasons.checkNoDirectory(path);
        try {
            return FileChannel.open(path, StandardOpenOption.READ);
        } catch (IOException e) {
            throw FileReasons.explain(path, e);
        }
    }

    /** Fills the buffer from its position to its limit; false if the channel ends before that. */
    public static boolean readFully(ReadableByteChannel in, ByteBuffer buffer) throws IOException {
        int limit = buffer.limit();
        while (buffer.position() < limit) {
            buffer.limit(Math.min(limit, buffer.position() + WINDOW));
            int count = in.read(buffer);
            buffer.limit(limit);
            if (count < 0) {
                return false;
            }
        }
        return true;
    }

    /** Writes all bytes of the buffer, whose position stays as it is. */
    public static void writeFully(WritableByteChannel out, ByteBuffer buffer) throws IOException {
        int end = buffer.limit();
        for (int start = buffer.position(); start < end; start += WINDOW) {
            ByteBuffer window = buffer.slice(start, Math.min(WINDOW, end - start));
            while (window.hasRemaining()) {
                out.write(window);
            }
        }
    }

    /** The whole file, of which nothing is read if it is longer than {@code limit} bytes. */
    public static byte[] readFile(Path path, int limit) throws IOException {
        try (InputStream in = Streams.open(path)) {
            long size = Streams.isStandardInput(path) ? 0 : Files.size(path);
            byte[] bytes = size > limit ? new byte[0] : in.readNBytes(limit + 1); // a pipe says that its size is 0
            if (size > limit || bytes.length > limit) {
                throw new MalformedFileException(
                        path,
                        -1,
                        "file has " + counted(Math.max(size, bytes.length)) + " bytes, at most " + counted(limit)
                                + " allowed");
            }
            return bytes;
        }
    }

    /** A count as people read it: {@code 9,114,861,777}. */
    public static String counted(Number count) {
        return String.format(Locale.ROOT, "%,d", count);
    }
}
