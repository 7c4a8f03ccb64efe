package org.peft4j.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import org.peft4j.io.safetensors.TensorInfo;
import org.peft4j.io.safetensors.TensorLocation;

/**
 * Tells one base model from another: SHA-256 over each tensor's name, type, shape and three samples of its bytes (from its
 * beginning, its middle and its end), in the order of the names. The time depends on the number of tensors, not on their
 * size, and how the tensors are spread over files does not matter. Training changes every sample; a change of a few values
 * elsewhere is not seen.
 */
public final class BaseHash {
    private static final int SAMPLE = 1024;

    private BaseHash() {}

    /** 64 hexadecimal digits. */
    public static String of(ModelDirectory model) throws IOException {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java has SHA-256", e);
        }
        Map<Path, FileChannel> files = new HashMap<>();
        try {
            for (Map.Entry<String, TensorLocation> entry : new TreeMap<>(model.tensors()).entrySet()) {
                TensorLocation location = entry.getValue();
                FileChannel file = files.get(location.file());
                if (file == null) {
                    file = Bytes.open(location.file());
                    files.put(location.file(), file);
                }
                add(digest, entry.getKey(), location, file);
            }
        } finally {
            for (FileChannel file : files.values()) {
                file.close();
            }
        }
        return HexFormat.of().formatHex(digest.digest());
    }

    private static void add(MessageDigest digest, String name, TensorLocation location, FileChannel file)
            throws IOException {
        TensorInfo info = location.info();
        String head = name + "\n" + info.dtype() + info.shape() + "\n";
        digest.update(head.getBytes(StandardCharsets.UTF_8));
        long last = Math.max(0, info.length() - SAMPLE);
        for (long at : new long[] {0, last / 2, last}) {
            ByteBuffer sample = ByteBuffer.allocate((int) Math.min(SAMPLE, info.length()));
            file.position(info.offset() + at);
            Bytes.readFully(file, sample);
            digest.update(sample.flip());
        }
    }
}
