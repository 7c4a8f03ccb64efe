package org.peft4j.method.spi.loha;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

class HadamardProductTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static Parameter parameter(String name, long rows, long columns) {
        return Parameter.of(name, name, () -> Init.normal(1, name, 1, rows, columns));
    }

    private static HadamardProduct product(long r, long in, long out) {
        return new HadamardProduct(
                parameter("a1", out, r), parameter("b1", r, in), parameter("a2", out, r), parameter("b2", r, in), 0.7);
    }

    @Test
    void bothFormsAreTheSameMatrix() {
        for (long r = 1; r <= 5; r++) {
            try (PointerScope scope = new PointerScope()) {
                HadamardProduct product = product(r, 9, 7);
                HadamardProduct.Folded folded = product.new Folded();
                Tensor whole = product.new Whole().matrix();
                Tensor difference = folded.b()
                        .matmul(folded.a())
                        .mul(new Scalar(folded.scale()))
                        .sub(whole);
                assertThat(folded.a().size(0)).isEqualTo(r * r);
                assertThat(whole.abs().max().item_double()).isGreaterThan(0.1);
                assertThat(difference.abs().max().item_double()).isLessThan(1e-5);
            }
        }
    }

    @Test
    void theFoldedFormIsTakenWhereItMultipliesLess() {
        try (PointerScope scope = new PointerScope()) {
            assertThat(product(1, 32, 32).isLowRank()).isTrue(); // 64 of 1024
            assertThat(product(3, 32, 32).isLowRank()).isTrue(); // 576
            assertThat(product(4, 32, 32).isLowRank()).isFalse(); // 1024
        }
    }
}
