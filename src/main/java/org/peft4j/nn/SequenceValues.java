package org.peft4j.nn;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.ops.Device;

/**
 * From values of rows to values of their sequences and back. Both are products with matrices that say which row is whose, so that sums,
 * those of gradients too, are in a fixed order on every device. Differentiable.
 */
public final class SequenceValues {
    /** The most sequences of one matrix: it has so many elements for each row. */
    static final int GROUP = 64;

    private SequenceValues() {}

    /** What is done with the rows or the values of some of the sequences. */
    @FunctionalInterface
    private interface OfGroup {
        Tensor of(SequenceRows group);
    }

    /**
     * Means over the rows of each sequence; 0 where it has none.
     *
     * @param x [T, n], float32
     * @return [sequences, n]
     */
    public static Tensor means(Tensor x, SequenceRows rows, ForwardContext context) {
        Device device = Device.of(x);
        Tensor shares = context.once(key("shares of rows", rows), () -> {
            float[] values = new float[rows.sequences()];
            for (int i = 0; i < values.length; i++) {
                values[i] = 1f / Math.max(1, rows.length(rows.first() + i));
            }
            return Tensors.ofFloats(device, values, values.length, 1);
        });
        Tensor sums = byGroup(
                rows,
                group -> ofWhich(group, context, device).matmul(x.narrow(0, rows.begin(group.first()), group.rows())));
        return sums.mul(shares);
    }

    /**
     * Gives each row what its sequence has.
     *
     * @param values [sequences, n], float32
     * @return [T, n]
     */
    public static Tensor ofRows(Tensor values, SequenceRows rows, ForwardContext context) {
        return byGroup(
                rows,
                group -> ofWhich(group, context, Device.of(values))
                        .t()
                        .matmul(values.narrow(0, (long) group.first() - rows.first(), group.sequences())));
    }

    private static Tensor byGroup(SequenceRows rows, OfGroup f) {
        if (rows.sequences() <= GROUP) {
            return f.of(rows);
        }
        TensorVector parts = new TensorVector();
        for (int first = rows.first(); first < rows.last(); first += GROUP) {
            parts.push_back(f.of(new SequenceRows(rows.packing(), first, Math.min(first + GROUP, rows.last()))));
        }
        return torch.cat(parts, 0);
    }

    private static List<Object> key(String what, SequenceRows rows) {
        return List.of(SequenceValues.class, what, rows.packing(), rows.first(), rows.last());
    }

    /** [sequences, T]: 1 where the row is the sequence's, else 0. */
    private static Tensor ofWhich(SequenceRows rows, ForwardContext context, Device device) {
        return context.once(key("rows of sequences", rows), () -> {
            int n = Math.toIntExact(rows.rows());
            float[] values = new float[Math.multiplyExact(rows.sequences(), n)];
            for (int s = rows.first(); s < rows.last(); s++) {
                int begin = (s - rows.first()) * n + Math.toIntExact(rows.begin(s));
                Arrays.fill(values, begin, begin + rows.length(s), 1);
            }
            return Tensors.ofFloats(device, values, rows.sequences(), n);
        });
    }
}
