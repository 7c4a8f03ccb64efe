package org.peft4j.io.safetensors;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Bytes;

/**
 * Reads and writes safetensors files. Reading checks everything ({@link MalformedFileException} says what is wrong);
 * writing gives the bytes that the Python library gives for the same tensors, and is atomic.
 */
public final class SafeTensors {
    private static final int MAX_BUFFER = Integer.MAX_VALUE - 8; // the longest array a JVM makes

    private SafeTensors() {}

    /** Reads and checks the header only: cheap for any size of file, and the way to map a model's weights. */
    public static SafeTensorsFile open(Path path) throws IOException {
        try (FileChannel channel = Bytes.open(path)) {
            return parseHeader(path, channel, channel.size());
        }
    }

    /**
     * Loads all tensors, in the order of the file. Meant for adapters: everything lies in Java's heap, and one tensor
     * has at most 2 GiB.
     */
    public static Map<String, TensorData> read(Path path) throws IOException {
        try (FileChannel channel = Bytes.open(path)) {
            Map<String, TensorData> tensors = new LinkedHashMap<>();
            for (TensorInfo info :
                    parseHeader(path, channel, channel.size()).tensors().values()) {
                tensors.put(info.name(), read(path, channel, info));
            }
            return Collections.unmodifiableMap(tensors);
        }
    }

    /**
     * Writes a file, whole or not at all. The tensors are ordered as the Python library orders them, by type and then
     * by name, whatever their order in the collection.
     *
     * @param metadata texts for {@code __metadata__}, written sorted; none is written if it is empty
     * @throws IllegalArgumentException if two tensors have the same name, or one is called {@code __metadata__}
     * @throws IllegalStateException    if a source writes another number of bytes than its shape and type say
     */
    public static void write(Path target, Map<String, String> metadata, Collection<? extends TensorSource> tensors)
            throws IOException {
        SafeTensorsWriter writer = new SafeTensorsWriter(metadata, tensors);
        AtomicFiles.write(target, writer::writeTo);
    }

    /** The header of a file whose bytes come from {@code in}; for tests, too, which need no files. */
    public static SafeTensorsFile parseHeader(Path path, ReadableByteChannel in, long fileSize) throws IOException {
        return SafeTensorsHeader.parse(path, in, fileSize);
    }

    /** One tensor; the channel's position moves. */
    private static TensorData read(Path path, FileChannel channel, TensorInfo info) throws IOException {
        if (info.length() > MAX_BUFFER) {
            throw new IOException(path + ": tensor '" + info.name() + "' has " + Bytes.counted(info.length())
                    + " bytes, at most " + Bytes.counted(MAX_BUFFER) + " can be loaded into Java's heap");
        }
        ByteBuffer bytes = ByteBuffer.allocate((int) info.length());
        channel.position(info.offset());
        if (!Bytes.readFully(channel, bytes)) {
            throw new MalformedFileException(
                    path, info.offset() + bytes.position(), "file became shorter while it was read");
        }
        return new TensorData(info.name(), info.dtype(), info.shape(), bytes.flip());
    }
}
