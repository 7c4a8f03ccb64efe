package org.peft4j.method.spi.bottleneck;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.OriginalNorms;
import org.peft4j.method.bottleneck.Scaling;
import org.peft4j.method.spi.RationalStarts;
import org.peft4j.method.spi.SequenceGate;
import org.peft4j.nn.Init;
import org.peft4j.nn.SequenceValues;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.SublayerAddition;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/**
 * The bottleneck of one sublayer, {@code u = g dropout(s (W_up act(W_down r + c_down) + c_up))}, and what it is added to
 * ({@link OriginalNorms}). g is the gate of the text, if there are gates. While training, stochastic depth leaves some texts' u
 * away. u is computed in float32, whatever the type of the activations.
 */
record Bottleneck(
        SublayerPoint point,
        BottleneckConfig config,
        Network network,
        @Nullable Parameter scale,
        @Nullable SequenceGate gate)
        implements SublayerAddition {
    /** Coefficients of activations. */
    static final String ACTIVATION = "activation";

    private static final int NUMERATOR = 5;
    private static final int DENOMINATOR = 4;

    /** Both layers and what is between them, where that is trained. */
    record Network(
            BottleneckLayer down,
            BottleneckLayer up,
            @Nullable Rational rational) {}

    /** A rational function: a_0 to a_5 and b_1 to b_4, of version A. */
    record Rational(Parameter numerator, Parameter denominator) {
        static Rational fresh(String path, BottleneckConfig config) {
            RationalStarts start =
                    RationalStarts.of(Ops.RationalVersion.A, config.rationalInit(), NUMERATOR, DENOMINATOR);
            return new Rational(
                    Parameter.of(path + ".numerator", ACTIVATION, () -> tensor(start.numerator())),
                    Parameter.of(path + ".denominator", ACTIVATION, () -> tensor(start.denominator())));
        }

        private static Tensor tensor(double[] values) {
            float[] floats = new float[values.length];
            for (int i = 0; i < floats.length; i++) {
                floats[i] = (float) values[i];
            }
            return Tensors.ofFloats(floats, floats.length);
        }

        Tensor of(Tensor x, Function<Parameter, Tensor> values) {
            return Ops.rational(
                    x,
                    new Ops.Rational(
                            Ops.RationalVersion.A,
                            values.apply(numerator).unsqueeze(0),
                            values.apply(denominator).unsqueeze(0),
                            0));
        }
    }

    /** @param phm makes both layers; null: plain ones */
    static Bottleneck fresh(
            Adapter.Builder builder, SublayerPoint point, BottleneckConfig config, @Nullable PhmLayers phm, long seed) {
        long width = point.width();
        long inner = inner(point, config);
        String down = point.path() + ".adapter_down";
        String up = point.path() + ".adapter_up";
        String scaling = point.path() + ".adapter_scaling";
        Network network = new Network(
                phm == null
                        ? BottleneckLayer.Plain.fresh(down, inner, width, false, config.init(), seed)
                        : phm.layer(down, inner, width, "down"),
                phm == null
                        ? BottleneckLayer.Plain.fresh(up, width, inner, true, config.init(), seed)
                        : phm.layer(up, width, inner, "up"),
                config.activation() == BottleneckConfig.Activation.RATIONAL
                        ? Rational.fresh(point.path() + ".adapter_act", config)
                        : null);
        return new Bottleneck(
                point,
                config,
                network,
                config.scaling().kind() == Scaling.Kind.FIXED
                        ? null
                        : Parameter.of(scaling, BottleneckLayer.GROUP, () -> Init.ones(scales(point, config))),
                config.gate() ? SequenceGate.fresh(builder, point.path() + ".adapter_gate", 1, width, seed) : null);
    }

    /**
     * Width of the bottleneck.
     *
     * @throws IllegalArgumentException if there is none of this size
     */
    static long inner(SublayerPoint point, BottleneckConfig config) {
        Double factor = config.reductionFactor().ofLayer(point.layer());
        if (factor == null) {
            throw new IllegalArgumentException("reduction_factor: nothing is said for layer " + point.layer()
                    + "; give 'default', or name the layer in leave_out");
        }
        long inner = (long) Math.floor(point.width() / factor);
        if (inner < 1) {
            throw new IllegalArgumentException("reduction_factor: must be at most the width " + point.width() + " of "
                    + point.path() + ", or no bottleneck would be left, got " + factor);
        }
        if (config.phm() != null
                && (point.width() % config.phm().dim() != 0
                        || inner % config.phm().dim() != 0)) {
            throw new IllegalArgumentException("phm: dim must divide the width and the bottleneck of " + point.path()
                    + ", which are " + point.width() + " and " + inner + " (the width through reduction_factor "
                    + factor + "), got " + config.phm().dim());
        }
        return inner;
    }

    private static long scales(SublayerPoint point, BottleneckConfig config) {
        return switch (config.scaling().kind()) {
            case FIXED -> 0;
            case LEARNED -> 1;
            case CHANNEL -> point.width();
        };
    }

    /** Number of elements that are its own. */
    static long elements(SublayerPoint point, BottleneckConfig config) {
        long inner = inner(point, config);
        long width = point.width();
        long others = scales(point, config)
                + rationalElements(config)
                + (config.gate() ? SequenceGate.elements(1, width) : 0);
        if (config.phm() == null) {
            return others + 2 * width * inner + inner + width;
        }
        return others
                + (config.phm().rule().sharedRule() ? 0 : 2 * PhmLayers.ruleElements(config.phm()))
                + (config.phm().weights().sharedW() ? 0 : 2 * PhmLayers.wElements(config.phm(), inner, width))
                + (config.phm().bias() ? inner + width : 0);
    }

    /** Number of coefficients of an activation. */
    static long rationalElements(BottleneckConfig config) {
        return config.activation() == BottleneckConfig.Activation.RATIONAL ? NUMERATOR + 1 + DENOMINATOR : 0;
    }

    /** What is its own, but for its gate's. */
    List<Parameter> parameters() {
        List<Parameter> parameters = new ArrayList<>(network.down.parameters());
        parameters.addAll(network.up.parameters());
        Rational rational = network.rational;
        if (rational != null) {
            parameters.add(rational.numerator);
            parameters.add(rational.denominator);
        }
        if (scale != null) {
            parameters.add(scale);
        }
        return parameters;
    }

    @Override
    public Tensor apply(Sublayer at, ForwardContext context) {
        Tensor read = read(at);
        Tensor added = added(at, read);
        double p = context.training() ? config.dropout() : 0;
        Tensor dropped = p == 0 ? added : Ops.dropout(added, p, context.seed(point.path() + ".adapter_up.weight"));
        Tensor gated = gate == null ? dropped : dropped.mul(gate.ofRows(read, at.rows(), context));
        Tensor left = config.stochasticDepth() == 0 || !context.training() ? gated : thinned(gated, at, context);
        Tensor around = around(at, read);
        return around.add(left.to(around.scalar_type()));
    }

    /** Without that of the texts that stochastic depth leaves away. */
    private Tensor thinned(Tensor u, Sublayer at, ForwardContext context) {
        String place = point.path() + ".stochastic_depth#" + at.rows().first();
        Tensor ones =
                torch.ones(new long[] {at.rows().sequences(), 1}, Device.of(u).options(ScalarType.Float));
        Tensor kept = Ops.dropout(ones, config.stochasticDepth(), context.seed(place));
        return u.mul(SequenceValues.ofRows(kept, at.rows(), context));
    }

    @Override
    public Tensor added(Sublayer at, Tensor read) {
        return scaled(network.up.of(activated(
                network.down.of(read.to(ScalarType.Float)), config.activation(), network.rational, Parameter::value)));
    }

    @Override
    public boolean behindNorm() {
        return !config.norms().originalLnAfter() && point.normBehind();
    }

    @Override
    public Tensor read(Sublayer at) {
        if (config.parallel()) {
            return at.residual();
        }
        return config.norms().originalLnBefore() ? at.norm().apply(at.output()) : at.output();
    }

    @Override
    public Tensor around(Sublayer at, Tensor read) {
        OriginalNorms norms = config.norms();
        if (!norms.originalLnAfter() && !point.normBehind()) {
            return at.output(); // the sum with what goes around the sublayer is the block's last step, also without u
        }
        return switch (norms.residualBeforeLn()) {
            case OUTPUT -> at.output();
            case INPUT -> read;
            case POST_ADD -> at.output().add(at.residual());
        };
    }

    private record Place(OriginalNorms norms, boolean parallel) {}

    @Override
    public Object place() {
        return new Place(config.norms(), config.parallel());
    }

    private Tensor scaled(Tensor u) {
        if (scale != null) {
            return u.mul(scale.value());
        }
        double factor = config.scaling().factor();
        return factor == 1 ? u : u.mul(new Scalar(factor));
    }

    /**
     * A function between two layers.
     *
     * @param rational its coefficients; null where it is no rational one
     * @param values of the coefficients
     */
    static Tensor activated(
            Tensor x,
            BottleneckConfig.Activation activation,
            @Nullable Rational rational,
            Function<Parameter, Tensor> values) {
        return switch (activation) {
            case RELU -> x.relu();
            case GELU -> Ops.gelu(x);
            case SWISH -> torch.silu(x);
            case TANH -> x.tanh();
            case RATIONAL -> java.util.Objects.requireNonNull(rational).of(x, values);
        };
    }
}
