package org.peft4j.io.safetensors;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.peft4j.io.Bytes;
import org.peft4j.io.PythonStrings;
import org.peft4j.io.Utf8;

/**
 * Lays a safetensors file out as the Python library does, so that the same tensors give the same bytes: types by
 * {@link #ORDER}, names by their UTF-8 bytes, compact JSON, header padded with spaces to a multiple of 8. (Python's
 * order of several metadata entries is random; ours is sorted.)
 *
 * @see <a href="https://github.com/huggingface/safetensors/blob/v0.6.2/safetensors/src/tensor.rs">prepare and Dtype</a>
 */
final class SafeTensorsWriter {
    /** The reverse of the library's enumeration, which begins with the types that need the least alignment. */
    private static final List<ElementType> ORDER = List.of(
            ElementType.I64,
            ElementType.F64,
            ElementType.F32,
            ElementType.I32,
            ElementType.BF16,
            ElementType.F16,
            ElementType.I16,
            ElementType.I8,
            ElementType.U8,
            ElementType.BOOL);

    private final List<? extends TensorSource> tensors;
    private final byte[] header;

    SafeTensorsWriter(Map<String, String> metadata, Collection<? extends TensorSource> unordered) {
        checkNames(unordered);
        for (TensorSource tensor : unordered) {
            if (!ORDER.contains(tensor.dtype())) {
                throw new IllegalArgumentException("tensor '" + tensor.name() + "' must be one of " + ElementType.used()
                        + " to be written, is " + tensor.dtype());
            }
        }
        tensors = unordered.stream()
                .sorted(Comparator.comparingInt((TensorSource t) -> ORDER.indexOf(t.dtype()))
                        .thenComparing(t -> Utf8.encode(t.name()), Arrays::compareUnsigned))
                .toList();
        header = header(metadata);
    }

    void writeTo(WritableByteChannel out) throws IOException {
        ByteBuffer length = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        Bytes.writeFully(out, length.putLong(header.length).flip());
        Bytes.writeFully(out, ByteBuffer.wrap(header));
        for (TensorSource tensor : tensors) {
            CountedChannel counted = new CountedChannel(out, tensor);
            tensor.writeTo(counted);
            counted.finish();
        }
    }

    private byte[] header(Map<String, String> metadata) {
        StringBuilder json = new StringBuilder("{");
        if (!metadata.isEmpty()) {
            json.append(quoted(SafeTensorsHeader.METADATA)).append(":{");
            new TreeMap<>(metadata)
                    .forEach((key, value) -> json.append(quoted(key))
                            .append(':')
                            .append(quoted(value))
                            .append(','));
            json.setCharAt(json.length() - 1, '}');
            json.append(',');
        }
        long begin = 0;
        for (TensorSource tensor : tensors) {
            long end = Math.addExact(begin, Shapes.checkedBytes(tensor.name(), tensor.dtype(), tensor.shape()));
            json.append(quoted(tensor.name()))
                    .append(":{\"dtype\":\"")
                    .append(tensor.dtype().safetensorsName())
                    .append("\",\"shape\":")
                    .append(tensor.shape().toString().replace(" ", ""))
                    .append(",\"data_offsets\":[")
                    .append(begin)
                    .append(',')
                    .append(end)
                    .append("]},");
            begin = end;
        }
        if (json.length() > 1) {
            json.setLength(json.length() - 1); // the last comma
        }
        return padded(Utf8.encode(json.append('}').toString()));
    }

    private static byte[] padded(byte[] json) {
        int length = (json.length + 7) / 8 * 8;
        if (length > SafeTensorsHeader.MAX_BYTES) {
            throw new IllegalArgumentException("header has " + Bytes.counted(length) + " bytes, at most "
                    + Bytes.counted(SafeTensorsHeader.MAX_BYTES) + " allowed: too many or too long names");
        }
        byte[] header = Arrays.copyOf(json, length);
        Arrays.fill(header, json.length, length, (byte) ' ');
        return header;
    }

    /** A JSON text; Rust's serde_json, which the library uses, escapes what Python's json does. */
    private static String quoted(String text) {
        StringBuilder out = new StringBuilder();
        PythonStrings.quote(out, text, false);
        return out.toString();
    }

    private static void checkNames(Collection<? extends TensorSource> tensors) {
        Set<String> seen = new HashSet<>();
        for (TensorSource tensor : tensors) {
            if (tensor.name().equals(SafeTensorsHeader.METADATA) || !seen.add(tensor.name())) {
                throw new IllegalArgumentException("names of tensors must differ and none may be "
                        + SafeTensorsHeader.METADATA + ", got '" + tensor.name() + "'");
            }
        }
    }

    /** Passes a tensor's bytes on and holds the source to the number it promised. */
    private static final class CountedChannel implements WritableByteChannel {
        private final WritableByteChannel out;
        private final TensorSource tensor;
        private final long promised;
        private long written;

        CountedChannel(WritableByteChannel out, TensorSource tensor) {
            this.out = out;
            this.tensor = tensor;
            this.promised = Shapes.bytes(tensor.dtype(), tensor.shape());
        }

        @Override
        public int write(ByteBuffer bytes) throws IOException {
            int count = bytes.remaining();
            written += count;
            if (written > promised) {
                finish();
            }
            while (bytes.hasRemaining()) {
                out.write(bytes);
            }
            return count;
        }

        void finish() {
            if (written != promised) {
                throw new IllegalStateException("tensor '" + tensor.name() + "' is " + tensor.dtype() + " "
                        + tensor.shape() + ", " + promised + " bytes, but its source wrote "
                        + (written > promised ? "at least " : "") + written);
            }
        }

        @Override
        public boolean isOpen() {
            return out.isOpen();
        }

        @Override
        public void close() {} // the file goes on after this tensor
    }
}
