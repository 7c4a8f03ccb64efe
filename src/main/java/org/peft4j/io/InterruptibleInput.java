package org.peft4j.io;

import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.util.Arrays;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import org.jspecify.annotations.Nullable;

/**
 * Opens and reads a pipe in a thread of its own. Whoever writes into it may take long, or never come, and only so can
 * waiting be interrupted: the thread that waits in the system cannot.
 */
final class InterruptibleInput extends InputStream {
    private static final int CHUNK = 1 << 16;

    /** Opens what is to be read. */
    interface Source {
        InputStream open() throws IOException;
    }

    /** Bytes; or none, at the end, and what failed, if something did. */
    @SuppressWarnings("ArrayRecordComponent") // only handed over
    private record Piece(byte[] bytes, @Nullable Exception failure) {}

    private final BlockingQueue<Piece> pieces = new ArrayBlockingQueue<>(4);
    private final Thread reader;
    private byte[] bytes = {};
    private int at;
    private boolean ended;

    InterruptibleInput(Source source) {
        reader = new Thread(() -> read(source), "peft4j-input");
        reader.setDaemon(true);
        reader.start();
    }

    private void read(Source source) {
        try {
            Exception failure = null;
            try (InputStream in = source.open()) {
                byte[] chunk = new byte[CHUNK];
                for (int count = in.read(chunk); count >= 0; count = in.read(chunk)) {
                    if (count > 0) {
                        pieces.put(new Piece(Arrays.copyOf(chunk, count), null));
                    }
                }
            } catch (IOException | RuntimeException e) {
                failure = e;
            }
            pieces.put(new Piece(new byte[0], failure));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt(); // closed: nobody wants the rest
        }
    }

    @Override
    public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] target, int offset, int length) throws IOException {
        if (length == 0) {
            return 0;
        }
        if (at == bytes.length && !next()) {
            return -1;
        }
        int count = Math.min(length, bytes.length - at);
        System.arraycopy(bytes, at, target, offset, count);
        at += count;
        return count;
    }

    private boolean next() throws IOException {
        if (ended) {
            return false;
        }
        Piece piece;
        try {
            piece = pieces.take();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted while waiting for data");
        }
        bytes = piece.bytes();
        at = 0;
        ended = bytes.length == 0;
        if (piece.failure() instanceof IOException e) {
            throw e;
        }
        if (piece.failure() instanceof RuntimeException e) {
            throw e;
        }
        return !ended;
    }

    @Override
    public void close() {
        reader.interrupt();
    }
}
