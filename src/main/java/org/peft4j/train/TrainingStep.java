package org.peft4j.train;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.data.Dataset;
import org.peft4j.error.DeviceException;
import org.peft4j.error.TrainingException;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.ops.Ops;
import org.peft4j.optim.AdamW;

/**
 * One optimiser step: forward and backward of its micro-batches, whose gradients add up, then the optimiser. The loss is
 * that of all rows together: the sum of the rows' losses over their number, so each row counts alike in whichever
 * micro-batch it comes (the mean of the means would weigh the rows of a small one more). Owns backward; what has to happen
 * between backward and the optimiser, or behind it, has its place here.
 */
public final class TrainingStep {
    private static final long SUM = 2; // at::Reduction::Sum
    private static final long IGNORED = -100; // no row has this label

    private final HeadedModel model;
    private final Adapter adapter;
    private final AdamW optimizer;
    private final double maxGradNorm;
    private final long seed;
    private long keptForBackward;
    private boolean changing;

    public TrainingStep(HeadedModel model, Adapter adapter, AdamW optimizer, double maxGradNorm, long seed) {
        this.model = model;
        this.adapter = adapter;
        this.optimizer = optimizer;
        this.maxGradNorm = maxGradNorm;
        this.seed = seed;
    }

    /**
     * What a step did.
     *
     * @param loss mean of the losses of all rows
     * @param gradNorm joint norm of all gradients before clipping
     */
    public record Outcome(double loss, double gradNorm, long tokens) {}

    /**
     * Runs the step.
     *
     * @param step number of the step from 1, for messages and seeds
     * @param factor of the learning-rate schedule
     * @throws TrainingException if loss or gradients are not finite; the parameters are those before the step then
     */
    public Outcome run(Dataset data, List<int[]> microBatches, long step, double factor) {
        int rows = microBatches.stream().mapToInt(batch -> batch.length).sum();
        double loss = 0;
        long tokens = 0;
        for (int i = 0; i < microBatches.size(); i++) {
            int[] batch = microBatches.get(i);
            loss += backward(data, batch, step, i, rows);
            for (int example : batch) {
                tokens += data.examples().get(example).length();
            }
        }
        if (!Double.isFinite(loss)) {
            throw notFinite("loss", loss, step);
        }
        changing = true;
        double norm = optimizer.step(factor, maxGradNorm);
        changing = false;
        if (!Double.isFinite(norm)) {
            throw notFinite("gradient norm", norm, step);
        }
        return new Outcome(loss, norm, tokens);
    }

    private static TrainingException notFinite(String what, double value, long step) {
        return new TrainingException(what + " is not finite at step " + step + " (" + value
                + "); try a lower learning_rate, a longer warm-up, or dtype float32. What was saved is the adapter of an"
                + " earlier step");
    }

    /** Whether the last step failed while the parameters were being changed: some may be those behind it, some before. */
    public boolean changing() {
        return changing;
    }

    /** Bytes that the last micro-batch's forward left for its backward. */
    public long keptForBackward() {
        return keptForBackward;
    }

    private double backward(Dataset data, int[] batch, long step, int micro, int rows) {
        List<int[]> texts = Arrays.stream(batch)
                .mapToObj(example -> data.examples().get(example).tokens())
                .toList();
        long[] labels = new long[batch.length];
        for (int i = 0; i < batch.length; i++) {
            labels[i] = data.examples().get(batch[i]).label();
        }
        try {
            return Ops.checked(() -> {
                try (PointerScope scope = new PointerScope()) {
                    return backward(Inference.PackedBatch.of(texts), labels, Seeds.of(seed, step, micro), rows);
                }
            });
        } catch (DeviceException e) {
            throw new DeviceException("step " + step + ": " + e.getMessage(), e);
        }
    }

    /** The micro-batch's part of the step's loss: the sum over its rows, divided by all rows of the step. */
    private double backward(Inference.PackedBatch packed, long[] labels, long callSeed, int rows) {
        try (ForwardContext context = ForwardContext.training(packed.packing(), callSeed, adapter)) {
            long before = Ops.liveBytes();
            Tensor logits = model.outputs(Tokens.of(packed.tokens()), context);
            keptForBackward = Ops.liveBytes() - before;
            Tensor sum = torch.cross_entropy_loss(
                    logits, Tensors.ofLongs(labels, labels.length), new TensorOptional(), SUM, IGNORED, 0);
            Tensor loss = sum.div(new Scalar((double) rows));
            loss.backward();
            context.backward();
            return loss.item_double();
        }
    }
}
