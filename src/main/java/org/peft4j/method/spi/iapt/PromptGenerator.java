package org.peft4j.method.spi.iapt;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.method.iapt.IaptConfig;
import org.peft4j.method.iapt.InitPrompt;
import org.peft4j.method.iapt.PromptInsertion;
import org.peft4j.method.iapt.PromptPositions;
import org.peft4j.method.spi.RationalStarts;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.HiddenPrefix;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

/**
 * The soft tokens of one layer: {@code g(softmax(z W_poolᵀ)ᵀ z) W_upᵀ + b_up} with {@code z = h W_downᵀ + b_down}, the softmax over
 * the rows of the instruction.
 */
record PromptGenerator(Projections projections, Parameter pool, Activation activation, IaptConfig config)
        implements HiddenPrefix {
    /** Projections and poolings. */
    static final String GENERATOR = "generator";

    /** Coefficients of the activations. */
    static final String ACTIVATION = "activation";

    private static final double STD = 0.02;

    /** Down and up, which neighbouring layers share. */
    record Projections(Parameter downWeight, Parameter downBias, Parameter upWeight, Parameter upBias) {
        static Projections fresh(int group, IaptConfig config, long width, long seed) {
            String path = "prompt_generator." + group + ".";
            String down = path + "down.weight";
            String up = path + "up.weight";
            int m = config.bottleneckSize();
            return new Projections(
                    Parameter.of(down, GENERATOR, () -> Init.normal(seed, down, STD, m, width)),
                    Parameter.of(path + "down.bias", GENERATOR, () -> Tensors.zeros(m)),
                    Parameter.of(
                            up,
                            GENERATOR,
                            () -> config.promptInit() == InitPrompt.ZERO
                                    ? Tensors.zeros(width, m)
                                    : Init.normal(seed, up, STD, width, m)),
                    Parameter.of(path + "up.bias", GENERATOR, () -> Tensors.zeros(width)));
        }

        List<Parameter> parameters() {
            return List.of(downWeight, downBias, upWeight, upBias);
        }
    }

    /** A rational function: a_0 to a_m and b_1 to b_n. */
    record Activation(Parameter numerator, Parameter denominator) {
        static Activation fresh(int layer, IaptConfig config) {
            String path = "prompt_act." + layer + ".";
            RationalStarts start = RationalStarts.of(
                    Ops.RationalVersion.valueOf(config.rationalVersion().name()),
                    config.rationalInit(),
                    config.rationalDegrees().get(0),
                    config.rationalDegrees().get(1));
            return new Activation(
                    Parameter.of(path + "numerator", ACTIVATION, () -> tensor(start.numerator())),
                    Parameter.of(path + "denominator", ACTIVATION, () -> tensor(start.denominator())));
        }

        private static Tensor tensor(double[] values) {
            float[] floats = new float[values.length];
            for (int i = 0; i < floats.length; i++) {
                floats[i] = (float) values[i];
            }
            return Tensors.ofFloats(floats, floats.length);
        }
    }

    static PromptGenerator fresh(int layer, Projections projections, IaptConfig config, long seed) {
        String pool = "prompt_pool." + layer + ".weight";
        return new PromptGenerator(
                projections,
                Parameter.of(
                        pool,
                        GENERATOR,
                        () -> Init.normal(seed, pool, STD, config.virtualTokens(), config.bottleneckSize())),
                Activation.fresh(layer, config),
                config);
    }

    /** What is the layer's alone. */
    List<Parameter> parameters() {
        return List.of(pool, activation.numerator, activation.denominator);
    }

    @Override
    public Tensor rows(Tensor h, Packing packing, Tensor instruction) {
        Ops.Rational rational = new Ops.Rational(
                Ops.RationalVersion.valueOf(config.rationalVersion().name()),
                activation.numerator.value().unsqueeze(0),
                activation.denominator.value().unsqueeze(0),
                0);
        return Ops.promptGenerator(
                h,
                packing.cuSeqlens(),
                instruction,
                new Ops.PromptGenerator(
                        projections.downWeight.value(),
                        projections.downBias.value(),
                        pool.value(),
                        rational,
                        projections.upWeight.value(),
                        projections.upBias.value()));
    }

    @Override
    public int count() {
        return config.virtualTokens();
    }

    @Override
    public boolean turned() {
        return config.promptPositions() == PromptPositions.SHIFT;
    }

    @Override
    public boolean throughTheBlock() {
        return config.promptInsertion() == PromptInsertion.REPLACE;
    }
}
