package org.peft4j.nn;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.ops.Device;

/**
 * From values of rows to values of their sequences and back. Both are products with a matrix that says which row is whose, so that sums,
 * those of gradients too, are in a fixed order on every device. Differentiable.
 */
public final class SequenceValues {
    private SequenceValues() {}

    /**
     * Means over the rows of each sequence; 0 where it has none.
     *
     * @param x [T, n], float32
     * @return [sequences, n]
     */
    public static Tensor means(Tensor x, SequenceRows rows, ForwardContext context) {
        Tensor shares = context.once(List.of("shares of rows", rows.packing(), rows.first(), rows.last()), () -> {
            float[] values = new float[rows.sequences()];
            for (int i = 0; i < values.length; i++) {
                values[i] = 1f / Math.max(1, rows.length(rows.first() + i));
            }
            return Tensors.ofFloats(Device.of(x), values, values.length, 1);
        });
        return ofWhich(x, rows, context).matmul(x).mul(shares);
    }

    /**
     * Gives each row what its sequence has.
     *
     * @param values [sequences, n], float32
     * @return [T, n]
     */
    public static Tensor ofRows(Tensor values, SequenceRows rows, ForwardContext context) {
        return ofWhich(values, rows, context).t().matmul(values);
    }

    /** [sequences, T]: 1 where the row is the sequence's, else 0. */
    private static Tensor ofWhich(Tensor like, SequenceRows rows, ForwardContext context) {
        return context.once(List.of("rows of sequences", rows.packing(), rows.first(), rows.last()), () -> {
            int n = Math.toIntExact(rows.rows());
            float[] values = new float[Math.multiplyExact(rows.sequences(), n)];
            for (int s = rows.first(); s < rows.last(); s++) {
                int begin = (s - rows.first()) * n + Math.toIntExact(rows.begin(s));
                Arrays.fill(values, begin, begin + rows.length(s), 1);
            }
            return Tensors.ofFloats(Device.of(like), values, rows.sequences(), n);
        });
    }
}
