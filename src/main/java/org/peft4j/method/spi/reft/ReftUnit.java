package org.peft4j.method.spi.reft;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

/**
 * What edits rows: {@code h + Rᵀ (g(W h + c) - R h)}, in float32.
 *
 * @param path of its tensors
 */
record ReftUnit(String path, ReftConfig config, Parameter weight, Parameter bias, Rows rows) {
    static final String GROUP = "reft";
    static final String BASE = ".projection.parametrizations.weight.0.base_vectors";

    private static final String ORIGINAL = ".projection.parametrizations.weight.original";
    private static final String FREE = ".projection.weight";
    private static final String SOURCE = ".learned_source.weight";

    /** The vectors of a frozen base that a file has. */
    @FunctionalInterface
    interface BaseOfFile {
        float[] of(String path, long r, long width);
    }

    /**
     * A fresh one, whose tensors the builder gets.
     *
     * @param base of the file that it is read from; null: it is made
     */
    static ReftUnit fresh(
            Adapter.Builder builder,
            String path,
            long width,
            ReftConfig config,
            long seed,
            @org.jspecify.annotations.Nullable BaseOfFile base) {
        long r = config.r();
        Parameter weight = Parameter.of(path + SOURCE, GROUP, () -> Init.kaiming(seed, path + SOURCE, r, width));
        builder.parameter(weight);
        String biasPath = path + ".learned_source.bias";
        Parameter bias = Parameter.of(biasPath, GROUP, () -> Init.uniform(seed, biasPath, 1 / Math.sqrt(width), r));
        builder.parameter(bias);
        if (!config.orthogonality()) {
            Parameter free = Parameter.of(path + FREE, GROUP, () -> Init.kaiming(seed, path + FREE, r, width));
            builder.parameter(free);
            return new ReftUnit(path, config, weight, bias, new Rows.Free(free));
        }
        OrthogonalRows.Start start;
        try (PointerScope scope = new PointerScope()) {
            float[] rows = Tensors.toFloats(Init.kaiming(seed, path + FREE, r, width));
            start = OrthogonalRows.start(rows, config.r(), Math.toIntExact(width));
        }
        Parameter original = Parameter.of(path + ORIGINAL, GROUP, () -> Tensors.ofFloats(start.original(), r, width));
        builder.parameter(original);
        float[] vectors = base == null ? start.base() : base.of(path + BASE, r, width);
        Tensor kept = builder.constant(path + BASE, () -> Tensors.ofFloats(vectors, r, width), true);
        return new ReftUnit(path, config, weight, bias, new OrthogonalRows(original, kept));
    }

    /** Number of trained elements. */
    static long elements(long width, ReftConfig config) {
        return 2 * config.r() * width + config.r();
    }

    /**
     * Edited rows.
     *
     * @param h [n, width], float32
     */
    Tensor of(Tensor h, ForwardContext context) {
        Tensor r = rows.matrix();
        Tensor source = activated(Ops.linear(h, weight.value(), bias.value()));
        Tensor target = config.subtractProjection() ? source.sub(Ops.linear(h, r, null)) : source;
        Tensor edited = h.add(target.matmul(r));
        double p = context.training() ? config.dropout() : 0;
        return p == 0 ? edited : Ops.dropout(edited, p, context.seed(path));
    }

    private Tensor activated(Tensor x) {
        return switch (config.nonLinearity()) {
            case NONE -> x;
            case RELU -> x.relu();
            case GELU -> Ops.gelu(x);
            case SWISH -> torch.silu(x);
            case TANH -> x.tanh();
        };
    }
}
