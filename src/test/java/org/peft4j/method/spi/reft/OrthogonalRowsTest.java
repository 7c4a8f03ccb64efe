package org.peft4j.method.spi.reft;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Ops;

/** R against torch's orthogonal parametrization: build-scripts/fixtures/reft.py. */
class OrthogonalRowsTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final Map<String, TensorData> TORCH = Fixtures.read(Fixtures.ROOT.resolve("reft.safetensors"));

    private static Tensor torchs(String name) {
        TensorData data = TORCH.get(name);
        return Tensors.ofFloats(
                data.toFloats(),
                data.shape().stream().mapToLong(Long::longValue).toArray());
    }

    @ParameterizedTest
    @ValueSource(strings = {"1x8", "3x8", "7x8", "4x33"})
    void valuesAndGradientsAreTorchs(String shape) {
        try (PointerScope scope = new PointerScope()) {
            Tensor original = torchs(shape + ".original").requires_grad_(true);
            Tensor rows = OrthogonalRows.of(original, torchs(shape + ".base_vectors"));
            assertThat(maxDifference(
                            Tensors.toFloats(rows), TORCH.get(shape + ".rows").toFloats()))
                    .isLessThan(1e-5);
            rows.mul(torchs(shape + ".weights")).sum().backward();
            assertThat(maxDifference(
                            Tensors.toFloats(original.grad()),
                            TORCH.get(shape + ".gradient").toFloats()))
                    .isLessThan(2e-5);
        }
    }

    /** Whatever is trained, and whatever its decay makes of the diagonal. */
    @ParameterizedTest
    @CsvSource({"1, 64", "5, 64", "16, 16", "33, 768"})
    void rowsAreOrthonormal(int r, int width) {
        try (PointerScope scope = new PointerScope()) {
            OrthogonalRows.Start start =
                    OrthogonalRows.start(Tensors.toFloats(Init.normal(1, "w", 1, r, width)), r, width);
            Tensor original = Init.normal(2, "x", 0.3, r, width);
            Tensor rows = OrthogonalRows.of(original, Tensors.ofFloats(start.base(), r, width));
            Tensor products = rows.matmul(rows.t());
            assertThat(products.sub(torch.eye(r)).abs().max().item_double()).isLessThan(2e-6);
        }
    }

    @Test
    void itBeginsWhereTorchDoes() {
        try (PointerScope scope = new PointerScope()) {
            OrthogonalRows.Start start =
                    OrthogonalRows.start(TORCH.get("start.drawn").toFloats(), 3, 8);
            Tensor rows =
                    OrthogonalRows.of(Tensors.ofFloats(start.original(), 3, 8), Tensors.ofFloats(start.base(), 3, 8));
            assertThat(maxDifference(
                            Tensors.toFloats(rows), TORCH.get("start.rows").toFloats()))
                    .isLessThan(1e-6);
        }
    }

    /** Rows that depend on each other, or have nothing in them, begin as some rows that are orthonormal. */
    @Test
    void aDrawWithoutFullRankBeginsOrthonormalToo() {
        try (PointerScope scope = new PointerScope()) {
            OrthogonalRows.Start start = OrthogonalRows.start(new float[] {1, 2, 0, 1, 2, 0, 0, 0, 0}, 3, 3);
            Tensor rows =
                    OrthogonalRows.of(Tensors.ofFloats(start.original(), 3, 3), Tensors.ofFloats(start.base(), 3, 3));
            assertThat(rows.matmul(rows.t()).sub(torch.eye(3)).abs().max().item_double())
                    .isLessThan(1e-6);
        }
    }
}
