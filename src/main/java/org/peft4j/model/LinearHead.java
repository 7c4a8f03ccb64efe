package org.peft4j.model;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.nn.Init;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Ops;

/**
 * The head of a {@link HeadLayout}: {@code output(dropout(tanh(pooler(h))))}. Layers that the directory lacks are made anew,
 * as transformers does: normal with the layout's standard deviation, biases 0.
 */
public final class LinearHead implements Head {
    private static final String COUNT = "num_labels";
    private static final String WAY_OUT = "to train a new head write task.new_head: true (--set task.new_head=true),"
            + " else give an adapter that brings its own head, or as many labels as the head has";

    private final HeadLayout layout;
    private final FrozenTensors tensors;
    private final Points points;
    private final @Nullable LinearGroup pooler;
    private final @Nullable LinearGroup output;

    /**
     * @param tensors the directory's, of which this head takes what it needs; it owns them
     * @param base points of the model behind which it stands
     * @throws MalformedFileException if the directory's head has another number of outputs than asked for
     */
    public LinearHead(
            HeadLayout layout, HeadOptions options, ModelDirectory directory, FrozenTensors tensors, Points base)
            throws IOException {
        this.layout = layout;
        this.tensors = tensors;
        long width = base.hiddenSize();
        List<LinearPoint> linears = new ArrayList<>();
        HeadLayout.Pooler dense = layout.pooler();
        boolean made = dense != null
                && (dense.read() || tensors.rows(dense.path() + ".weight").isPresent());
        pooler = made ? LinearGroup.of(layer(dense.path(), width, width, true, false)) : null;
        if (pooler != null) {
            linears.addAll(pooler.points(false));
        }
        HeadLayout.Output last = layout.output();
        if (last == null) {
            output = null;
        } else {
            check(directory, tensors.rows(last.path() + ".weight"), options);
            output = LinearGroup.of(layer(last.path(), options.outputs(), width, last.bias(), options.anew()));
            linears.addAll(output.points(true));
        }
        points = new Points(
                        base.modelType(),
                        layout.architecture(),
                        width,
                        base.layers(),
                        base.queryHeads(),
                        linears,
                        List.of(),
                        tensors.points(),
                        tensors.fresh())
                .on(base.device());
    }

    private Linear layer(String path, long out, long in, boolean bias, boolean anew) throws IOException {
        FrozenTensors.Maker normal = (seed, name, shape) -> Init.normal(seed, name, layout.std(), shape);
        FrozenTensors.Maker zero = (seed, name, shape) -> Tensors.zeros(shape);
        return new Linear(
                path,
                tensors.head(path + ".weight", normal, anew, out, in),
                bias ? tensors.head(path + ".bias", zero, anew, out) : null);
    }

    private static void check(ModelDirectory directory, OptionalLong rows, HeadOptions options)
            throws MalformedFileException {
        if (options.anew() || rows.isEmpty()) {
            return;
        }
        Object count = directory.config().get(COUNT);
        if (count != null && !(count instanceof Number number && number.doubleValue() == rows.getAsLong())) {
            throw new MalformedFileException(
                    directory.configFile(),
                    -1,
                    COUNT + " is " + Json.shown(count) + ", but the model's head has " + rows.getAsLong() + " outputs; "
                            + WAY_OUT);
        }
        if (rows.getAsLong() != options.outputs()) {
            throw new MalformedFileException(
                    directory.directory(),
                    -1,
                    "the model's head has " + rows.getAsLong() + " outputs, asked for are " + options.outputs() + "; "
                            + WAY_OUT);
        }
    }

    @Override
    public Points points() {
        return points;
    }

    @Override
    public ReadRows reads() {
        return layout.reads();
    }

    @Override
    public Tensor forward(Tensor h, Packing rows, ForwardContext context) {
        return Scopes.scoped(() -> {
            HeadLayout.Pooler dense = layout.pooler();
            Tensor x = pooler == null || dense == null || !dense.read()
                    ? h
                    : pooler.forwardOne(h, rows, context).tanh();
            HeadLayout.Output last = layout.output();
            if (output == null || last == null) {
                return x.to(ScalarType.Float);
            }
            double p = context.training() ? last.dropout() : 0;
            Tensor dropped = Ops.dropout(x, p, context.seed(last.path()));
            return output.forwardOne(dropped, rows, context).to(ScalarType.Float);
        });
    }

    @Override
    public void close() {
        if (pooler != null) {
            pooler.close();
        }
        if (output != null) {
            output.close();
        }
        tensors.close();
    }
}
