package org.peft4j.method.spi.bottleneck;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.SublayerUpdate;
import org.peft4j.ops.Ops;

/**
 * {@code y = h + dropout(W_up act(W_down norm(h + x) + c_down) + c_up)} of one sublayer. All of it is computed in float32, whatever the type of
 * the activations.
 */
record Bottleneck(
        String path,
        Parameter downWeight,
        Parameter downBias,
        Parameter upWeight,
        Parameter upBias,
        BottleneckConfig.Activation activation,
        double dropout)
        implements SublayerUpdate {
    private static final String GROUP = "bottleneck";
    private static final double STD = 0.02;

    /** Matrices normal with standard deviation 0.02, biases 0: as BERT's own begin. */
    static Bottleneck fresh(SublayerPoint point, BottleneckConfig config, long seed) {
        long width = point.width();
        long inner = inner(point, config);
        return new Bottleneck(
                point.path(),
                normal(point.path() + ".adapter_down.weight", seed, inner, width),
                zero(point.path() + ".adapter_down.bias", inner),
                normal(point.path() + ".adapter_up.weight", seed, width, inner),
                zero(point.path() + ".adapter_up.bias", width),
                config.activation(),
                config.dropout());
    }

    private static Parameter normal(String path, long seed, long out, long in) {
        return Parameter.of(path, GROUP, () -> Init.normal(seed, path, STD, out, in));
    }

    private static Parameter zero(String path, long n) {
        return Parameter.of(path, GROUP, () -> Tensors.zeros(n));
    }

    static long inner(SublayerPoint point, BottleneckConfig config) {
        return Math.max(1, point.width() / config.reductionFactor());
    }

    static long elements(SublayerPoint point, BottleneckConfig config) {
        long inner = inner(point, config);
        return 2 * point.width() * inner + inner + point.width();
    }

    List<Parameter> parameters() {
        return List.of(downWeight, downBias, upWeight, upBias);
    }

    @Override
    public Tensor apply(Sublayer at, ForwardContext context) {
        Tensor normed = at.norm().apply(at.output()).to(ScalarType.Float);
        Tensor inner = activated(Ops.linear(normed, downWeight.value(), downBias.value()));
        Tensor up = Ops.linear(inner, upWeight.value(), upBias.value());
        double p = context.training() ? dropout : 0;
        Tensor dropped = p == 0 ? up : Ops.dropout(up, p, context.seed(upWeight.path()));
        return at.output().add(dropped.to(at.output().scalar_type()));
    }

    private Tensor activated(Tensor x) {
        return switch (activation) {
            case RELU -> x.relu();
            case GELU -> Ops.gelu(x);
            case SWISH -> torch.silu(x);
        };
    }
}
