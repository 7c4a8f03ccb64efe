package org.peft4j.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.ops.Ops;

/** Means of sequences' rows, of few and of many sequences, some of them empty. */
class SequenceValuesTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    @Test
    void meansAreOfOwnRowsAndGoBackToThem() {
        for (int sequences : new int[] {1, 5, SequenceValues.GROUP, 2 * SequenceValues.GROUP + 7}) {
            int[] lengths = new int[sequences + 3];
            Arrays.setAll(lengths, s -> (s * 7 + 3) % 5); // 0 among them
            Packing packing = Packing.of(lengths);
            SequenceRows rows = new SequenceRows(packing, 2, sequences + 2);
            int n = (int) rows.rows();
            try (PointerScope scope = new PointerScope();
                    ForwardContext context = ForwardContext.inference(packing)) {
                Tensor x = Init.normal(1, "x", 1, n, 2).set_requires_grad(true);
                Tensor means = SequenceValues.means(x, rows, context);
                float[] is = Tensors.toFloats(means);
                float[] back = Tensors.toFloats(SequenceValues.ofRows(means, rows, context));
                float[] from = Tensors.toFloats(x);
                means.mul(means).sum().backward();
                float[] gradient = Tensors.toFloats(x.grad());
                assertThat(is).hasSize(2 * sequences);
                assertThat(back).hasSize(2 * n);
                for (int s = 2; s < sequences + 2; s++) {
                    for (int c = 0; c < 2; c++) {
                        double mean = 0;
                        for (int i = 0; i < lengths[s]; i++) {
                            mean += from[2 * ((int) rows.begin(s) + i) + c] / (double) lengths[s];
                        }
                        assertThat((double) is[2 * (s - 2) + c]).isCloseTo(mean, within(1e-6));
                        for (int i = 0; i < lengths[s]; i++) {
                            int at = 2 * ((int) rows.begin(s) + i) + c;
                            assertThat(back[at]).isEqualTo(is[2 * (s - 2) + c]);
                            assertThat((double) gradient[at]).isCloseTo(2 * mean / lengths[s], within(1e-6));
                        }
                    }
                }
            }
        }
    }
}
