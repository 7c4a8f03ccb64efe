package org.peft4j.method.spi.randlora;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

class SumOfBasesTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final int R = 4;
    private static final int WIDE = 16; // the largest layer

    private static Parameter matrix(String name, long rows, long columns) {
        return Parameter.of(name, name, () -> Init.normal(1, name, 1, rows, columns));
    }

    private static SumOfBases update(long in, long out) {
        long small = Math.min(in, out);
        long products = RandomBases.products(small, R);
        return new SumOfBases(
                new RandomBases(Init.normal(2, "a", 1, R, 1, WIDE), Init.normal(2, "b", 1, WIDE, WIDE / R, R)),
                new SumOfBases.Sides(in, out),
                matrix("lambda", R, products),
                matrix("gamma", products, small),
                0.3,
                0);
    }

    @Test
    void fewRowsAndManyGoTheSameWay() {
        for (long[] size : new long[][] {{10, 14}, {14, 10}, {12, 12}}) {
            try (PointerScope scope = new PointerScope()) {
                SumOfBases update = update(size[0], size[1]);
                Tensor many = Init.normal(3, "x", 1, 50, size[0]);
                Tensor expected = many.matmul(update.matrix().t());
                Tensor few = update.product(many.narrow(0, 0, 2));
                assertThat(update.product(many).sub(expected).abs().max().item_double())
                        .isLessThan(1e-4);
                assertThat(few.sub(expected.narrow(0, 0, 2)).abs().max().item_double())
                        .isLessThan(1e-4);
            }
        }
    }

    /** The formula by indexes, as PEFT pairs them: k is j N + n for A, and n r + j for B. */
    @Test
    void rowsOfAMeetColumnsOfBAsInPeft() {
        try (PointerScope scope = new PointerScope()) {
            SumOfBases update = update(10, 14);
            int products = (int) RandomBases.products(10, R);
            float[] a = Tensors.toFloats(update.bases().a());
            float[] b = Tensors.toFloats(update.bases().b());
            float[] lambda = Tensors.toFloats(update.lambda().value());
            float[] gamma = Tensors.toFloats(update.gamma().value());
            float[] matrix = Tensors.toFloats(update.matrix());
            for (int out = 0; out < 14; out++) {
                for (int in = 0; in < 10; in++) {
                    double sum = 0;
                    for (int k = 0; k < R * products; k++) {
                        int j = k / products;
                        int n = k % products;
                        sum += b[out * WIDE + k / R * R + k % R]
                                * lambda[j * products + n]
                                * a[j * WIDE + in]
                                * gamma[n * 10 + in];
                    }
                    assertThat(matrix[out * 10 + in])
                            .isCloseTo((float) (0.3 * sum), org.assertj.core.data.Offset.offset(1e-3f));
                }
            }
        }
    }
}
