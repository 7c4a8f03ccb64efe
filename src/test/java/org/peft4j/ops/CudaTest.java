package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.peft4j.HostDevices;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Packing;

/**
 * The operations give on a CUDA device what they give on the CPU, results and gradients. {@code build-scripts/gpu-check.sh java}
 * runs this where a device is, {@code build-scripts/cuda-java-tests.sh} on one that the host plays.
 */
@Tag(HostDevices.TAG)
class CudaTest {
    private static final String DEVICE = "cuda";
    private static final Packing PACKING = Packing.of(37, 0, 1, 90);
    private static final long T = PACKING.rows();
    private static final long K = 64;

    @BeforeEach
    void needsADevice() {
        NativeLibrary.load();
        assertThat(torch.cuda_is_available()).as("libtorch sees a CUDA device").isTrue();
    }

    @Test
    void loraLinear() {
        Tensor w = normal("w", 48, K);
        sameOnBoth(List.of(normal("x", T, K), normal("a", 8, K), normal("b", 48, 8)), (on, t) -> {
            try (Weight weight = Weight.of(List.of(on.apply(w)))) {
                return Ops.loraLinear(
                        t.get(0),
                        weight,
                        null,
                        List.of(new Ops.LowRankUpdate(new Ops.PartRows(0, 5, T), t.get(1), t.get(2), 2, 0.1)),
                        3)[0];
            }
        });
    }

    @Test
    void attentionWithAPrefix() {
        Ops.AttentionSettings settings = new Ops.AttentionSettings(true, 0.125, 0, new Ops.Dropout(0, 1));
        List<Tensor> inputs = List.of(
                normal("q", T, 4, K),
                normal("k", T, 2, K),
                normal("v", T, 2, K),
                normal("pk", 4, 2, K),
                normal("pv", 4, 2, K));
        sameOnBoth(
                inputs,
                (on, t) -> Ops.attention(
                        t.get(0),
                        t.get(1),
                        t.get(2),
                        PACKING.cuSeqlens(),
                        PACKING.cuSeqlens(),
                        PACKING.longest(),
                        PACKING.longest(),
                        t.get(3),
                        t.get(4),
                        null,
                        settings));
    }

    @Test
    void layerNorm() {
        List<Tensor> inputs =
                List.of(normal("x", T, K), normal("residual", T, K), normal("weight", K), normal("bias", K));
        sameOnBoth(inputs, (on, t) -> Ops.layerNorm(t.get(0), t.get(1), t.get(2), t.get(3), 1e-5, 0.1, 3));
    }

    @Test
    void geluAndDropout() {
        sameOnBoth(List.of(normal("x", T, K)), (on, t) -> Ops.dropout(Ops.gelu(t.get(0)), 0.3, 7));
    }

    /** An operation on trained inputs; {@code on} brings what is frozen to their device. */
    private interface Operation {
        Tensor apply(Function<Tensor, Tensor> on, List<Tensor> inputs);
    }

    private static void sameOnBoth(List<Tensor> inputs, Operation operation) {
        List<float[]> expected = resultsAndGradients("cpu", inputs, operation);
        List<float[]> found = resultsAndGradients(DEVICE, inputs, operation);
        for (int i = 0; i < expected.size(); i++) {
            float[] right = expected.get(i), own = found.get(i);
            double largest = IntStream.range(0, right.length)
                    .mapToDouble(j -> Math.abs(right[j]))
                    .max()
                    .orElse(0);
            assertThat(own).as("result %d", i).hasSameSizeAs(right);
            for (int j = 0; j < right.length; j++) {
                assertThat(own[j]).as("element %d of result %d", j, i).isCloseTo(right[j], within((float)
                        (1e-4 * largest)));
            }
        }
    }

    private static List<float[]> resultsAndGradients(String device, List<Tensor> inputs, Operation operation) {
        try (PointerScope scope = new PointerScope()) {
            Function<Tensor, Tensor> on = t -> t.to(new Device(device), ScalarType.Float);
            List<Tensor> trained = inputs.stream()
                    .map(t -> on.apply(t).detach().requires_grad_(true))
                    .toList();
            Tensor y = operation.apply(on, trained);
            y.mul(on.apply(Init.normal(0, "dy", 1, y.sizes().vec().get())))
                    .sum()
                    .backward();
            List<Tensor> all = new ArrayList<>(List.of(y.detach()));
            trained.forEach(t -> all.add(t.grad()));
            return all.stream()
                    .map(t -> Tensors.toFloats(t.to(new Device("cpu"), ScalarType.Float)))
                    .toList();
        }
    }

    private static Tensor normal(String name, long... shape) {
        return Init.normal(0, name, 1, shape);
    }
}
