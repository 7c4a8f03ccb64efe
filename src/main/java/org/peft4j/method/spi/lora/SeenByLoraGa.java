package org.peft4j.method.spi.lora;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraGaConfig;
import org.peft4j.method.spi.TruncatedSvd;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.random.SplitMix64;

/**
 * LoRA-GA: of the mean gradient G of W over batches, {@code G ≈ U S Vᵀ}, rows of Vᵀ become A, and columns of U, times their singular
 * values, B. The gradients of all adapted layers are kept at once, float32 on the model's device.
 *
 * <p>PEFT's scale "stable" takes GPT-2's inputs for its outputs (its weights are stored transposed); here it is the outputs.
 */
final class SeenByLoraGa extends SeenData {
    private final LoraGaConfig ga;
    private final Map<String, Zero> zeros = new LinkedHashMap<>();

    SeenByLoraGa(LoraConfig config, List<LoraSite> sites, Points points, long seed) {
        super(config, sites, points, seed);
        ga = config.dataStart().loraGa();
    }

    /** A ΔW of zeros, which takes no memory, but whose gradient is W's. */
    private record Zero(Tensor matrix) implements WeightDelta, AutoCloseable {
        static Zero of(LinearPoint layer, Points points) {
            return new Zero(Scopes.owned(
                    () -> torch.zeros(new long[] {1, 1}, points.device().options(ScalarType.Float))
                            .expand(new long[] {layer.out(), layer.in()})
                            .requires_grad_(true)));
        }

        /** x gets no gradient through it: that is 0. */
        @Override
        public Tensor product(Tensor x) {
            return x.detach().matmul(matrix.to(x.scalar_type()).t());
        }

        @Override
        public void close() {
            matrix.close();
        }
    }

    @Override
    LinearClaim watch(LoraSite site) {
        LinearPoint layer = (LinearPoint) site.point();
        return zeros.computeIfAbsent(layer.path(), path -> Zero.of(layer, points));
    }

    @Override
    public boolean needsGradient() {
        return true;
    }

    @Override
    public long bytes() {
        return sites.stream()
                .map(site -> (LinearPoint) site.point())
                .mapToLong(layer -> Float.BYTES * layer.in() * layer.out())
                .sum();
    }

    @Override
    void see(Packing rows, boolean[] told) {
        // autograd sees
    }

    @Override
    LoraStart start(LoraSite site, Tensor w) {
        String path = site.point().path();
        Tensor sum = zeros.get(path).matrix().grad();
        if (!sum.defined()) {
            throw new IllegalArgumentException(
                    "targets must be layers that the loss depends on with init lora_ga: " + path + " has no gradient");
        }
        Tensor gradient = Tensors.onCpu(sum, ScalarType.Float).div(new Scalar((double) batches()));
        if (!gradient.isfinite().all().item_bool()) {
            throw new IllegalArgumentException("init lora_ga needs finite gradients; that of " + path
                    + " is not: try model.dtype float32 or bfloat16");
        }
        int r = site.rank();
        TruncatedSvd svd = TruncatedSvd.largest(gradient, 2L * r, seed, LoraSite.pathOfA((LinearPoint) site.point()));
        long[] ofA = ofA(r, path);
        long[] ofB = ofB(r, path);
        Tensor values = svd.s().index_select(0, Tensors.ofLongs(ofB, r));
        Tensor a = svd.vt().index_select(0, Tensors.ofLongs(ofA, r));
        Tensor b = svd.u().index_select(1, Tensors.ofLongs(ofB, r)).mul(values.unsqueeze(0));
        return scaled(a, b, values, w, site);
    }

    private LoraStart scaled(Tensor a, Tensor b, Tensor values, Tensor w, LoraSite site) {
        return switch (ga.scale()) {
            case STABLE -> new LoraStart(a, b.mul(new Scalar(Math.pow(w.size(0), 0.25) / Math.sqrt(ga.stableGamma()))));
            case WEIGHT_SVD -> {
                double first = values.select(0, 0).item_double();
                double ofW = TruncatedSvd.largest(w, 1, seed, site.point().path() + ".weight")
                        .s()
                        .select(0, 0)
                        .item_double();
                yield new LoraStart(a, first > 0 ? b.mul(new Scalar(ofW / first)) : b);
            }
            case GD_SCALE -> new LoraStart(a.div(new Scalar(site.scale())), b.div(new Scalar(site.scale())));
            case UNIT -> new LoraStart(a, b);
        };
    }

    private long[] ofA(int r, String path) {
        return switch (ga.direction()) {
            case AR_B2R -> from(0, r);
            case A2R_BR -> from(r, r);
            case AR_BR -> IntStream.range(0, r).mapToLong(i -> 2L * i + 1).toArray();
            case RANDOM -> drawn(r, path);
        };
    }

    private long[] ofB(int r, String path) {
        return switch (ga.direction()) {
            case AR_B2R -> from(r, r);
            case A2R_BR -> from(0, r);
            case AR_BR -> IntStream.range(0, r).mapToLong(i -> 2L * i).toArray();
            case RANDOM -> drawn(r, path);
        };
    }

    private static long[] from(int first, int n) {
        return IntStream.range(first, first + n).mapToLong(i -> i).toArray();
    }

    /** r of 2 r numbers, in random order. */
    private long[] drawn(int r, String path) {
        SplitMix64 random = new SplitMix64(Seeds.mix(seed, path + "#directions"));
        long[] numbers = from(0, 2 * r);
        for (int i = 0; i < r; i++) {
            int other = i + (int) random.below(2L * r - i);
            long kept = numbers[i];
            numbers[i] = numbers[other];
            numbers[other] = kept;
        }
        return Arrays.copyOf(numbers, r);
    }

    @Override
    List<String> notes(LoraConfig begun) {
        return List.of("init lora_ga has looked at the gradients of " + batches() + " batches, " + looked());
    }

    @Override
    public void close() {
        super.close();
        zeros.values().forEach(Zero::close);
    }
}
