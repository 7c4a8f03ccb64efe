package org.peft4j.train;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.data.Dataset;
import org.peft4j.error.TrainingException;
import org.peft4j.model.ClassificationModel;
import org.peft4j.nn.Adapter;
import org.peft4j.nn.ForwardContext;
import org.peft4j.nn.Seeds;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Ops;
import org.peft4j.optim.AdamW;

/**
 * One optimiser step: forward and backward of its micro-batches, whose gradients add up, then the optimiser. Owns
 * backward; what has to happen between backward and the optimiser, or behind it, has its place here.
 */
final class TrainingStep {
    private final ClassificationModel model;
    private final Adapter adapter;
    private final AdamW optimizer;
    private final double maxGradNorm;
    private final long seed;
    private long keptForBackward;

    TrainingStep(ClassificationModel model, Adapter adapter, AdamW optimizer, double maxGradNorm, long seed) {
        this.model = model;
        this.adapter = adapter;
        this.optimizer = optimizer;
        this.maxGradNorm = maxGradNorm;
        this.seed = seed;
    }

    /**
     * What a step did.
     *
     * @param loss mean of the micro-batches' mean losses
     * @param gradNorm joint norm of all gradients before clipping
     */
    record Outcome(double loss, double gradNorm, long tokens) {}

    /**
     * Runs the step.
     *
     * @param step number of the step from 1, for messages and seeds
     * @param factor of the learning-rate schedule
     */
    Outcome run(Dataset data, List<int[]> microBatches, long step, double factor) {
        double loss = 0;
        long tokens = 0;
        for (int i = 0; i < microBatches.size(); i++) {
            int[] batch = microBatches.get(i);
            loss += backward(data, batch, step, i, microBatches.size()) / microBatches.size();
            for (int example : batch) {
                tokens += data.examples().get(example).length();
            }
        }
        if (!Double.isFinite(loss)) {
            throw new TrainingException("loss is not finite at step " + step + " (" + loss
                    + "); try a lower learning_rate, a longer warm-up, or dtype float32");
        }
        double norm = optimizer.step(factor, maxGradNorm);
        if (!Double.isFinite(norm)) {
            throw new TrainingException(
                    "gradient norm is not finite at step " + step + "; the saved adapter is that of an earlier step");
        }
        return new Outcome(loss, norm, tokens);
    }

    /** Bytes that the last micro-batch's forward left for its backward. */
    long keptForBackward() {
        return keptForBackward;
    }

    private double backward(Dataset data, int[] batch, long step, int micro, int of) {
        List<int[]> texts = Arrays.stream(batch)
                .mapToObj(example -> data.examples().get(example).tokens())
                .toList();
        long[] labels = new long[batch.length];
        for (int i = 0; i < batch.length; i++) {
            labels[i] = data.examples().get(batch[i]).label();
        }
        try (PointerScope scope = new PointerScope()) {
            return backward(Inference.PackedBatch.of(texts), labels, Seeds.of(seed, step, micro), of);
        }
    }

    private double backward(Inference.PackedBatch packed, long[] labels, long callSeed, int of) {
        try (ForwardContext context = ForwardContext.training(packed.packing(), callSeed, adapter)) {
            long before = Ops.liveBytes();
            Tensor logits = model.logits(packed.tokens(), context);
            keptForBackward = Ops.liveBytes() - before;
            Tensor loss = torch.cross_entropy_loss(logits, Tensors.ofLongs(labels, labels.length));
            (of == 1 ? loss : loss.div(new Scalar((double) of))).backward();
            return loss.item_double();
        }
    }
}
