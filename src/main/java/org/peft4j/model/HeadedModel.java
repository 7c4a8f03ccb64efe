package org.peft4j.model;

import java.io.IOException;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.io.ModelDirectory;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;

/** A model and one head behind it: what a run trains and a single adapter uses. Owns the head, and the model if it opened it. */
public final class HeadedModel implements AutoCloseable {
    private final Model model;
    private final Head head;
    private final HeadKind kind;
    private final HeadOptions options;
    private final Points points;
    private final boolean ownsModel;

    private HeadedModel(Model model, HeadKind kind, HeadOptions options, boolean ownsModel) {
        this.model = model;
        this.ownsModel = ownsModel;
        this.kind = kind;
        this.options = options;
        head = model.head(kind, options);
        points = model.points().with(head.points());
    }

    /** Puts a head behind a model; both are closed with it, and at once if there is no such head. */
    public static HeadedModel of(Model model, HeadKind kind, HeadOptions options) {
        try {
            return new HeadedModel(model, kind, options, true);
        } catch (RuntimeException e) {
            model.close();
            throw e;
        }
    }

    /** Puts a head behind a model that others use, too. */
    public static HeadedModel behind(Model model, HeadKind kind, HeadOptions options) {
        return new HeadedModel(model, kind, options, false);
    }

    /** Opens a model with a head. */
    public static HeadedModel open(
            ModelDirectory directory, ModelOptions modelOptions, HeadKind kind, HeadOptions options)
            throws IOException {
        return of(Models.family(directory).open(directory, modelOptions), kind, options);
    }

    public Model model() {
        return model;
    }

    public Head head() {
        return head;
    }

    /** Where methods may act in both. */
    public Points points() {
        return points;
    }

    /** What comes out of the head: [R, outputs], float32, a row for each that the head reads. */
    public Tensor outputs(Inputs inputs, ForwardContext context) {
        ReadRows rows = head.reads(inputs, context.text());
        return Scopes.scoped(() -> head.forward(
                BlockRunner.plain().forward(model, inputs, rows, context), rows.packing(context), context));
    }

    /** The same with other frozen tensors, by path; see {@link Model#withTensors}. */
    public HeadedModel withTensors(Map<String, Tensor> changed) {
        return of(model.withTensors(changed), kind, options);
    }

    @Override
    public void close() {
        head.close();
        if (ownsModel) {
            model.close();
        }
    }
}
