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
record Bottleneck(String path, Layer down, Layer up, BottleneckConfig.Activation activation, double dropout)
        implements SublayerUpdate {
    /** A linear layer. */
    record Layer(Parameter weight, Parameter bias) {
        /** Normal with standard deviation 0.02, bias 0: as BERT's own begin. */
        static Layer fresh(String path, long out, long in, long seed) {
            String weight = path + ".weight";
            return new Layer(
                    Parameter.of(weight, GROUP, () -> Init.normal(seed, weight, STD, out, in)),
                    Parameter.of(path + ".bias", GROUP, () -> Tensors.zeros(out)));
        }

        Tensor of(Tensor x) {
            return Ops.linear(x, weight.value(), bias.value());
        }
    }

    private static final String GROUP = "bottleneck";
    private static final double STD = 0.02;

    static Bottleneck fresh(SublayerPoint point, BottleneckConfig config, long seed) {
        long width = point.width();
        long inner = inner(point, config);
        return new Bottleneck(
                point.path(),
                Layer.fresh(point.path() + ".adapter_down", inner, width, seed),
                Layer.fresh(point.path() + ".adapter_up", width, inner, seed),
                config.activation(),
                config.dropout());
    }

    static long inner(SublayerPoint point, BottleneckConfig config) {
        return Math.max(1, point.width() / config.reductionFactor());
    }

    static long elements(SublayerPoint point, BottleneckConfig config) {
        long inner = inner(point, config);
        return 2 * point.width() * inner + inner + point.width();
    }

    List<Parameter> parameters() {
        return List.of(down.weight, down.bias, up.weight, up.bias);
    }

    @Override
    public Tensor apply(Sublayer at, ForwardContext context) {
        Tensor normed = at.norm().apply(at.output()).to(ScalarType.Float);
        Tensor inner = activated(down.of(normed));
        Tensor added = up.of(inner);
        double p = context.training() ? dropout : 0;
        Tensor dropped = p == 0 ? added : Ops.dropout(added, p, context.seed(up.weight.path()));
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
