package org.peft4j.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Safetensors files made by hand, so that they can be wrong. */
final class RawSafeTensors {
    private RawSafeTensors() {}

    /** A file with this header, its true length, and {@code dataBytes} bytes 0, 1, 2, … after it. */
    static byte[] bytes(String header, int dataBytes) {
        return bytes(header.getBytes(StandardCharsets.UTF_8), dataBytes);
    }

    static byte[] bytes(byte[] header, int dataBytes) {
        return bytes(header.length, header, dataBytes);
    }

    static byte[] bytes(long statedLength, byte[] header, int dataBytes) {
        ByteBuffer file = ByteBuffer.allocate(8 + header.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
        file.putLong(statedLength).put(header);
        for (int i = 0; i < dataBytes; i++) {
            file.put((byte) i);
        }
        return file.array();
    }

    /** A header entry for one tensor. */
    static String entry(String name, String dtype, String shape, long begin, long end) {
        return "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
                .formatted(name, dtype, shape, begin, end);
    }

    /** A valid file with one float32 scalar of this name. */
    static Path write(Path file, String tensor) throws IOException {
        return Files.write(file, bytes("{" + entry(tensor, "F32", "[]", 0, 4) + "}", 4));
    }
}
