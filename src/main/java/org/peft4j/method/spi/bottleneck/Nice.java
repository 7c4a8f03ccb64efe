package org.peft4j.method.spi.bottleneck;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.InitBottleneck;
import org.peft4j.nn.seam.EmbeddedUpdate;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.ops.Ops;

/**
 * The NICE coupling of invertible adapters: a row is (x1, x2), halves of C/2;
 *
 * <pre>
 * forward   y1 = x1 + F(x2)    y2 = x2 + G(y1)
 * inverse   x2 = y2 - G(y1)    x1 = y1 - F(x2)
 * </pre>
 *
 * where F and G are {@code W_2 act(W_1 x + b_1) + b_2} with ⌊(C/2) / factor⌋ rows of W_1. Computed in float32. Weights begin as those of
 * bottlenecks with {@code bert}, whatever these begin as, and so nearly as no change.
 *
 * @see <a href="https://arxiv.org/abs/2005.00052">MAD-X, section 3.3.2</a>
 * @see <a href="https://arxiv.org/abs/1410.8516">NICE: Non-linear Independent Components Estimation</a>
 */
record Nice(SequencePoint point, Network f, Network g) implements EmbeddedUpdate {
    /** What paths of its parameters begin with, which are those of no module of the model. */
    static final String PATH = "invertible_adapters.";

    /** Of what was made for a call: uses of a parameter there and back add up before it gets their gradient. */
    private record InCall(Parameter parameter) {}

    /** F or G. */
    record Network(
            BottleneckLayer.Plain first,
            BottleneckConfig.Activation activation,
            Bottleneck.@Nullable Rational rational,
            BottleneckLayer.Plain second) {
        static Network fresh(String path, long half, long inner, BottleneckConfig config, long seed) {
            return new Network(
                    BottleneckLayer.Plain.fresh(path + ".0", inner, half, false, InitBottleneck.BERT, seed),
                    config.activation(),
                    config.activation() == BottleneckConfig.Activation.RATIONAL
                            ? Bottleneck.Rational.fresh(path + ".1", config)
                            : null,
                    BottleneckLayer.Plain.fresh(path + ".2", half, inner, true, InitBottleneck.BERT, seed));
        }

        Tensor of(Tensor x, Function<Parameter, Tensor> values) {
            Tensor inner = Bottleneck.activated(linear(first, x, values), activation, rational, values);
            return linear(second, inner, values);
        }

        private static Tensor linear(BottleneckLayer.Plain layer, Tensor x, Function<Parameter, Tensor> values) {
            return Ops.linear(x, values.apply(layer.weight()), values.apply(layer.bias()));
        }

        private List<Parameter> parameters() {
            List<Parameter> parameters = new ArrayList<>(first.parameters());
            if (rational != null) {
                parameters.add(rational.numerator());
                parameters.add(rational.denominator());
            }
            parameters.addAll(second.parameters());
            return parameters;
        }
    }

    static Nice fresh(BottleneckConfig config, Points points, long seed) {
        SequencePoint point = point(config, points);
        long half = point.width() / 2;
        long inner = inner(config, point);
        return new Nice(
                point,
                Network.fresh(PATH + "F", half, inner, config, seed),
                Network.fresh(PATH + "G", half, inner, config, seed));
    }

    /**
     * Where it acts.
     *
     * @throws IllegalArgumentException if it cannot act on this model
     */
    static SequencePoint point(BottleneckConfig config, Points points) {
        List<SequencePoint> fronts = points.all(SequencePoint.class);
        if (fronts.size() != 1) {
            throw new IllegalArgumentException(
                    "inv_adapter: an invertible adapter stands behind the embeddings of a text, and a"
                            + " model of the type " + points.modelType() + " offers " + fronts.size()
                            + " such places; leave it out");
        }
        SequencePoint point = fronts.get(0);
        if (point.width() % 2 != 0) {
            throw new IllegalArgumentException("inv_adapter: nice couples two halves of a row, so that the width of "
                    + point.path() + " must be even, is " + point.width() + "; leave it out");
        }
        inner(config, point);
        return point;
    }

    private static long inner(BottleneckConfig config, SequencePoint point) {
        double factor = config.invertible().invAdapterReductionFactor();
        long inner = (long) Math.floor(point.width() / 2 / factor);
        if (inner < 1) {
            throw new IllegalArgumentException("inv_adapter_reduction_factor: must be at most " + point.width() / 2
                    + ", half of the width of " + point.path() + ", or its networks would be empty, got " + factor);
        }
        return inner;
    }

    /** Number of its elements. */
    static long elements(BottleneckConfig config, Points points) {
        SequencePoint point = point(config, points);
        long half = point.width() / 2;
        long inner = inner(config, point);
        return 2 * (2 * half * inner + inner + half + Bottleneck.rationalElements(config));
    }

    List<Parameter> parameters() {
        List<Parameter> parameters = new ArrayList<>(f.parameters());
        parameters.addAll(g.parameters());
        return parameters;
    }

    @Override
    public Tensor forward(Tensor rows, ForwardContext context) {
        Function<Parameter, Tensor> values = inCall(context);
        Tensor x2 = second(rows);
        Tensor y1 = first(rows).add(f.of(x2, values));
        return joined(y1, x2.add(g.of(y1, values)), rows);
    }

    @Override
    public Tensor inverse(Tensor rows, ForwardContext context) {
        Function<Parameter, Tensor> values = inCall(context);
        Tensor y1 = first(rows);
        Tensor x2 = second(rows).sub(g.of(y1, values));
        return joined(y1.sub(f.of(x2, values)), x2, rows);
    }

    private static Function<Parameter, Tensor> inCall(ForwardContext context) {
        return parameter ->
                context.once(new InCall(parameter), () -> parameter.value().alias());
    }

    private static Tensor first(Tensor rows) {
        return rows.narrow(1, 0, rows.size(1) / 2).to(ScalarType.Float);
    }

    private static Tensor second(Tensor rows) {
        return rows.narrow(1, rows.size(1) / 2, rows.size(1) / 2).to(ScalarType.Float);
    }

    private static Tensor joined(Tensor first, Tensor second, Tensor like) {
        return torch.cat(new TensorVector(first, second), 1).to(like.scalar_type());
    }
}
