package org.peft4j.cli;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Streams;

/**
 * JSONL that a command writes: each row as it is, with columns added. A row's own column of such a name is kept as
 * {@code input_NAME}. A file is whole or absent; a pipe and the standard output ({@code -}) get rows as they come.
 */
final class RowsOutput {
    /** What is told when nobody reads the standard output any more. */
    static final String NOT_WRITTEN = "standard output could not be written; is its reader gone?";

    private final OutputStream to;

    private RowsOutput(OutputStream to) {
        this.to = to;
    }

    /** Writes rows. */
    @FunctionalInterface
    interface Work {
        void run(RowsOutput rows) throws IOException;
    }

    /** Refuses an output that cannot be written, or that is the input. */
    static void check(Path out, Path data) throws IOException {
        if (!Streams.isStandardOutput(out)) {
            Inputs.canBecomeFile(out, "--out");
            Inputs.isNot(out, "--out", data);
        }
    }

    /** Does the work. */
    static void write(Path out, PrintStream standard, Work work) throws IOException {
        if (Streams.isStandardOutput(out)) {
            write(new Checked(standard), work); // row by row: a program may wait for each
        } else if (Streams.isPipe(out)) {
            try (OutputStream pipe = Files.newOutputStream(out)) {
                write(pipe, work);
            }
        } else {
            AtomicFiles.write(
                    out, file -> write(new BufferedOutputStream(Channels.newOutputStream(file), 1 << 16), work));
        }
    }

    /** Writes to a stream that is not ours to close. */
    private static void write(OutputStream stream, Work work) throws IOException {
        RowsOutput rows = new RowsOutput(stream);
        try {
            work.run(rows);
            rows.to.flush();
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }

    /** A row and what is said of it. */
    void add(Map<String, @Nullable Object> row, Map<String, @Nullable Object> columns) {
        Map<String, @Nullable Object> line = new LinkedHashMap<>();
        row.forEach((key, value) -> line.put(columns.containsKey(key) ? free(row, key) : key, value));
        line.putAll(columns);
        try {
            if (Thread.currentThread().isInterrupted()) { // the stream would notice when its buffer is full
                throw new InterruptedIOException();
            }
            to.write((JsonOutput.line(line) + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String free(Map<String, ?> row, String key) {
        String name = "input_" + key;
        while (row.containsKey(name)) {
            name = "input_" + name;
        }
        return name;
    }

    /** A print stream that tells of errors at once: who reads it may have gone ({@code | head}). */
    private static final class Checked extends OutputStream {
        private final PrintStream out;

        Checked(PrintStream out) {
            this.out = out;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            out.write(bytes, offset, length);
            if (out.checkError()) {
                throw new IOException(NOT_WRITTEN);
            }
        }
    }
}
