package org.peft4j.nn;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Device;

/** One row for each sequence from all of its rows, as sentence-transformers' Pooling and Normalize. Differentiable. */
public final class SentenceVectors {
    private SentenceVectors() {}

    /**
     * Means of each sequence's rows.
     *
     * @param h [T, C]
     * @return [sequences, C], float32
     */
    public static Tensor mean(Tensor h, Packing rows) {
        return Scopes.scoped(() -> {
            Device device = Device.of(h);
            int sequences = rows.sequences();
            long[] sequenceOf = new long[Math.toIntExact(rows.rows())];
            float[] weights = new float[sequences];
            for (int s = 0; s < sequences; s++) {
                Arrays.fill(sequenceOf, (int) rows.begin(s), (int) rows.end(s), s);
                weights[s] = 1f / rows.length(s);
            }
            Tensor sums = torch.index_add(
                    Tensors.zeros(device, sequences, h.size(1)),
                    0,
                    Tensors.ofLongs(device, sequenceOf, sequenceOf.length),
                    h.to(ScalarType.Float));
            return sums.mul(Tensors.ofFloats(device, weights, sequences, 1));
        });
    }

    /** Rows of x scaled to length 1; rows shorter than 1e-12 are divided by that, as torch's normalize does. */
    public static Tensor normalized(Tensor x) {
        return Scopes.scoped(() -> {
            Tensor squares = x.mul(x).sum(new long[] {1}, true, new org.bytedeco.pytorch.ScalarTypeOptional());
            Tensor lengths = squares.sqrt().clamp_min(new org.bytedeco.pytorch.Scalar(1e-12));
            return x.div(lengths);
        });
    }
}
