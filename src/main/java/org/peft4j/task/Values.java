package org.peft4j.task;

import java.util.Arrays;
import java.util.function.IntFunction;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.TrainingException;
import org.peft4j.nn.Tensors;

/** Outputs of a model as numbers, of which none may be infinite or NaN. */
public final class Values {
    private Values() {}

    /**
     * The rows of a matrix.
     *
     * @param where names a row for the message
     * @throws TrainingException naming the first row with a number that is not finite
     */
    public static float[][] rows(Tensor matrix, String what, IntFunction<String> where) {
        try (PointerScope scope = new PointerScope()) {
            float[] all = Tensors.toFloats(matrix);
            int n = Math.toIntExact(matrix.size(0));
            int width = Math.toIntExact(matrix.size(1));
            float[][] rows = new float[n][];
            for (int i = 0; i < n; i++) {
                rows[i] = Arrays.copyOfRange(all, i * width, (i + 1) * width);
                check(rows[i], what, where, i);
            }
            return rows;
        }
    }

    private static void check(float[] row, String what, IntFunction<String> where, int i) {
        for (float value : row) {
            if (!Float.isFinite(value)) {
                throw new TrainingException(where.apply(i) + ": the " + what + " are not finite, got "
                        + (row.length <= 16 ? Arrays.toString(row) : value + " among them")
                        + "; the model's or the adapter's weights are not finite or too large, try dtype float32");
            }
        }
    }
}
