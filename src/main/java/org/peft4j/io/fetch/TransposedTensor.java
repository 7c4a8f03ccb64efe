package org.peft4j.io.fetch;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.util.List;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorSource;

/**
 * A float32 matrix that is transposed while it is written, row by row.
 *
 * @param name   its new name
 * @param matrix the matrix to transpose
 */
record TransposedTensor(String name, TensorData matrix) implements TensorSource {
    TransposedTensor {
        if (matrix.dtype() != ElementType.F32 || matrix.shape().size() != 2) {
            throw new IllegalArgumentException("matrix must be F32 with two dimensions, got " + matrix);
        }
    }

    @Override
    public ElementType dtype() {
        return ElementType.F32;
    }

    @Override
    public List<Long> shape() {
        return List.of(matrix.shape().get(1), matrix.shape().get(0));
    }

    @Override
    public void writeTo(WritableByteChannel out) throws IOException {
        int rows = matrix.shape().get(0).intValue(); // fits: the bytes are in one buffer
        int columns = matrix.shape().get(1).intValue();
        ByteBuffer in = matrix.bytes();
        ByteBuffer row = ByteBuffer.allocate(rows * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (int column = 0; column < columns; column++) {
            row.clear();
            for (int i = 0; i < rows; i++) {
                row.putInt(in.getInt((i * columns + column) * Float.BYTES)); // bits, so that a NaN stays the same NaN
            }
            out.write(row.flip());
        }
    }
}
