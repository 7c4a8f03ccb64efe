package org.peft4j.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.ops.Weight;

/**
 * Forward and backward of each native operation at MiniLM's sizes, provider beside provider: own kernels, the library
 * where an operation has it, and the slow reference. Providers take turns within each repeat, so that a noisy moment of the
 * machine meets all of them; the median counts.
 */
final class KernelBenchmark {
    private static final int SEQUENCES = 4;
    private static final int LENGTH = 250;
    private static final int TOKENS = SEQUENCES * LENGTH;
    private static final int HIDDEN = 384;
    private static final int HEADS = 12;
    private static final int INNER = 1536;
    private static final int RANK = 8;

    private record Case(String operation, String shape, List<String> providers, ScalarType type, Runnable work) {}

    private KernelBenchmark() {}

    static List<Map<String, Object>> run(Device device, int repeats) {
        List<Map<String, Object>> rows = new ArrayList<>();
        try (PointerScope scope = new PointerScope()) {
            for (ScalarType type : List.of(ScalarType.Float, ScalarType.BFloat16)) {
                for (Case one : cases(device, type)) {
                    rows.addAll(measure(one, repeats));
                }
            }
        } finally {
            Ops.setKernels("auto");
        }
        return rows;
    }

    private static List<Map<String, Object>> measure(Case one, int repeats) {
        Map<String, double[]> times = new LinkedHashMap<>();
        one.providers().forEach(provider -> times.put(provider, new double[repeats]));
        for (int i = -1; i < repeats; i++) { // the first turn packs weights and warms up
            for (String provider : one.providers()) {
                Ops.setKernels(one.operation() + "=" + provider);
                long begin = System.nanoTime();
                one.work().run();
                if (i >= 0) {
                    times.get(provider)[i] = (System.nanoTime() - begin) / 1e6;
                }
            }
        }
        double reference = median(times.get("reference"));
        List<Map<String, Object>> rows = new ArrayList<>();
        times.forEach((provider, milliseconds) -> {
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("operation", one.operation());
            row.put("shape", one.shape());
            row.put("dtype", one.type() == ScalarType.Float ? "float32" : "bfloat16");
            row.put("provider", provider);
            row.put("milliseconds", median(milliseconds));
            row.put("times_reference", reference / median(milliseconds));
            rows.add(row);
        });
        return rows;
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    private static List<Case> cases(Device device, ScalarType type) {
        Tensor x = random(device, "x", type, TOKENS, HIDDEN);
        Tensor wide = random(device, "wide", type, TOKENS, INNER);
        Weight weight = Weight.of(List.of(
                frozen(device, "q", type, HIDDEN, HIDDEN),
                frozen(device, "k", type, HIDDEN, HIDDEN),
                frozen(device, "v", type, HIDDEN, HIDDEN)));
        Tensor a = random(device, "a", ScalarType.Float, RANK, HIDDEN);
        Tensor b = random(device, "b", ScalarType.Float, HIDDEN, RANK);
        List<Ops.LowRankUpdate> updates = List.of(
                new Ops.LowRankUpdate(new Ops.PartRows(0, 0, TOKENS), a, b, 2, 0.1),
                new Ops.LowRankUpdate(new Ops.PartRows(2, 0, TOKENS), a, b, 2, 0.1));
        Packing packing = Packing.of(LENGTH, LENGTH, LENGTH, LENGTH);
        Tensor scale = frozen(device, "scale", type, HIDDEN);
        Ops.AttentionSettings settings =
                new Ops.AttentionSettings(false, 1 / Math.sqrt((double) HIDDEN / HEADS), 0, new Ops.Dropout(0.1, 1));
        Supplier<Tensor> attention = () -> {
            Tensor heads = x.view(TOKENS, HEADS, HIDDEN / HEADS);
            return Ops.attention(
                    heads,
                    heads,
                    heads,
                    packing.cuSeqlens(),
                    packing.cuSeqlens(),
                    LENGTH,
                    LENGTH,
                    null,
                    null,
                    null,
                    settings);
        };
        Tensor positions = device.move(torch.arange(new Scalar(TOKENS)));
        Tensor frequencies = frozen(device, "frequencies", ScalarType.Float, HIDDEN / HEADS / 2);
        Supplier<Tensor> rotated = () -> {
            Tensor heads = x.view(TOKENS, HEADS, HIDDEN / HEADS);
            return Ops.rotary(heads, heads, positions, frequencies, 1, false).q();
        };
        String tokens = "T " + TOKENS;
        return List.of(
                new Case(
                        "lora_linear",
                        tokens + ", in 384, out 3 x 384, r 8 twice, dropout 0.1",
                        List.of("own", "library", "reference"),
                        type,
                        () -> forwardBackward(() -> torch.cat(
                                new org.bytedeco.pytorch.TensorVector(Ops.loraLinear(x, weight, null, updates, 1)),
                                1))),
                new Case(
                        "attention",
                        SEQUENCES + " x " + LENGTH + ", 12 heads of 32, dropout 0.1",
                        List.of("own", "reference"),
                        type,
                        () -> forwardBackward(attention)),
                new Case(
                        "layer_norm",
                        tokens + ", C 384, residual, dropout 0.1",
                        List.of("own", "reference"),
                        type,
                        () -> forwardBackward(() -> Ops.layerNorm(x, x, scale, scale, 1e-12, 0.1, 1))),
                new Case(
                        "gelu",
                        tokens + ", C 1536",
                        List.of("own", "library", "reference"),
                        type,
                        () -> forwardBackward(() -> Ops.gelu(wide))),
                new Case(
                        "dropout",
                        tokens + ", C 1536, p 0.1",
                        List.of("own", "reference"),
                        type,
                        () -> forwardBackward(() -> Ops.dropout(wide, 0.1, 1))),
                new Case(
                        "rms_norm",
                        tokens + ", C 384, residual",
                        List.of("own", "reference"),
                        type,
                        () -> forwardBackward(
                                () -> Ops.rmsNorm(x, x, scale, 1e-5, 0, 0, 1).y())),
                new Case(
                        "rotary",
                        tokens + ", 12 heads of 32",
                        List.of("own", "reference"),
                        type,
                        () -> forwardBackward(rotated)),
                new Case(
                        "gated_mlp",
                        tokens + ", N 1536, silu",
                        List.of("own", "reference"),
                        type,
                        () -> forwardBackward(() -> Ops.gatedMlp(wide, wide, Ops.Activation.SILU))));
    }

    private static void forwardBackward(Supplier<Tensor> operation) {
        try (PointerScope scope = new PointerScope()) {
            Tensor sum = operation.get().sum();
            sum.backward();
            sum.item_double(); // a card has done all of it then
        }
    }

    private static Tensor random(Device device, String name, ScalarType type, long... shape) {
        return frozen(device, name, type, shape).requires_grad_(true);
    }

    private static Tensor frozen(Device device, String name, ScalarType type, long... shape) {
        return device.move(Init.normal(0, name, 1, shape), type);
    }
}
