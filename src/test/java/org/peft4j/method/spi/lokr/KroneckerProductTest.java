package org.peft4j.method.spi.lokr;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.peft4j.method.Ranks;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.lokr.InitLoKr;
import org.peft4j.method.lokr.LoKrConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

class KroneckerProductTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    /** What PEFT's factorization gives. */
    @Test
    void theFirstFactorIsTheNearestThatDivides() {
        assertThat(KroneckerShape.first(768, -1)).isEqualTo(24);
        assertThat(KroneckerShape.first(256, -1)).isEqualTo(16);
        assertThat(KroneckerShape.first(128, -1)).isEqualTo(8);
        assertThat(KroneckerShape.first(127, -1)).isEqualTo(1);
        assertThat(KroneckerShape.first(127, 5)).isEqualTo(1);
        assertThat(KroneckerShape.first(128, 4)).isEqualTo(4);
        assertThat(KroneckerShape.first(32, 16))
                .as("one that divides may be the larger one")
                .isEqualTo(16);
        assertThat(KroneckerShape.first(32, 6)).isEqualTo(4);
        assertThat(KroneckerShape.first(32, 7)).isEqualTo(4);
        assertThat(KroneckerShape.first(12, 100)).isEqualTo(3);
    }

    @Test
    void factorsAreWholeWhereTheRankIsTooLargeForThem() {
        assertThat(shape(2, false, -1)).isEqualTo(expected(2, 4, 6, 8, 8, true, false));
        assertThat(shape(4, false, -1)).isEqualTo(expected(4, 4, 6, 8, 8, true, true));
        assertThat(shape(2, true, -1)).isEqualTo(expected(2, 4, 6, 8, 8, false, false));
        assertThat(shape(3, true, 8)).isEqualTo(expected(3, 8, 8, 4, 6, false, true));
    }

    private static KroneckerShape expected(
            long r, long rows1, long columns1, long rows2, long columns2, boolean whole1, boolean whole2) {
        return new KroneckerShape(
                r,
                new KroneckerShape.Factor(rows1, columns1, whole1),
                new KroneckerShape.Factor(rows2, columns2, whole2));
    }

    private static KroneckerShape shape(int r, boolean both, int factor) {
        return KroneckerShape.of(
                new LoKrConfig(
                        new Ranks(r, 1, Map.of(), Map.of()),
                        both,
                        factor,
                        InitLoKr.FIRST_ZERO,
                        TargetLayers.modelDefault(),
                        List.of()),
                "layer",
                48,
                32);
    }

    @Test
    void aRowGoesThroughWithoutTheMatrix() {
        for (int r : new int[] {1, 2, 4}) {
            for (boolean both : new boolean[] {false, true}) {
                for (int factor : new int[] {-1, 2, 8, 16}) {
                    try (PointerScope scope = new PointerScope()) {
                        KroneckerShape shape = shape(r, both, factor);
                        KroneckerProduct product = new KroneckerProduct(
                                shape, factor("w1", shape.first(), r), factor("w2", shape.second(), r), 0.5);
                        Tensor x = Init.normal(3, "x", 1, 5, 48);
                        Tensor expected = x.matmul(product.matrix().t());
                        assertThat(expected.abs().max().item_double()).isGreaterThan(0.1);
                        assertThat(product.product(x).sub(expected).abs().max().item_double())
                                .as(shape.toString())
                                .isLessThan(1e-4);
                    }
                }
            }
        }
    }

    private static KroneckerProduct.Factor factor(String name, KroneckerShape.Factor own, long r) {
        @Nullable Parameter right = own.whole() ? null : matrix(name + "b", r, own.columns());
        return new KroneckerProduct.Factor(matrix(name + "a", own.rows(), own.whole() ? own.columns() : r), right);
    }

    private static Parameter matrix(String name, long rows, long columns) {
        return Parameter.of(name, name, () -> Init.normal(1, name, 1, rows, columns));
    }
}
