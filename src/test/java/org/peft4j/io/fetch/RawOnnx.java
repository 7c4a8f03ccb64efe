package org.peft4j.io.fetch;

import com.google.protobuf.CodedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** ONNX files made by hand, message by message, so that they can be wrong. */
final class RawOnnx {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    /** Writes one field. */
    interface Field {
        void write(CodedOutputStream out) throws IOException;
    }

    RawOnnx add(Field field) {
        try {
            CodedOutputStream out = CodedOutputStream.newInstance(bytes);
            field.write(out);
            out.flush();
            return this;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    RawOnnx message(int number, RawOnnx message) {
        return add(out -> out.writeByteArray(number, message.bytes()));
    }

    RawOnnx text(int number, String text) {
        return add(out -> out.writeString(number, text));
    }

    byte[] bytes() {
        return bytes.toByteArray();
    }

    /** A file with what PyTorch writes around the graph. */
    static byte[] model(RawOnnx graph) {
        return new RawOnnx()
                .add(out -> out.writeInt64(1, 6))
                .text(2, "pytorch")
                .message(7, graph)
                .message(8, new RawOnnx().add(out -> out.writeInt64(2, 11)))
                .bytes();
    }

    /** Values 0, 1, 2, … plus {@code first}. */
    static RawOnnx tensor(String name, int first, long... dims) {
        int count = 1;
        RawOnnx tensor = new RawOnnx();
        for (long dim : dims) {
            tensor.add(out -> out.writeInt64(1, dim));
            count *= (int) dim;
        }
        ByteBuffer raw = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < count; i++) {
            raw.putFloat(first + i);
        }
        return tensor.add(out -> out.writeInt32(2, 1)).text(8, name).add(out -> out.writeByteArray(9, raw.array()));
    }

    static RawOnnx node(String name, String opType, List<String> inputs, String output) {
        RawOnnx node = new RawOnnx();
        inputs.forEach(input -> node.text(1, input));
        return node.text(2, output).text(3, name).text(4, opType);
    }
}
