package org.peft4j.train;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.DeviceException;
import org.peft4j.error.TrainingException;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.ops.Ops;
import org.peft4j.optim.AdamW;
import org.peft4j.task.Batch;
import org.peft4j.task.Example;

/**
 * One optimiser step: forward and backward of its micro-batches, whose gradients add up, then the optimiser. The loss is the sum
 * of the losses of all of them over the sum of their weights, so what counts alike counts alike in whichever micro-batch it
 * comes (the mean of the means would weigh the rows of a small one more). Owns backward; what has to happen between backward and
 * the optimiser, or behind it, has its place here.
 */
public final class TrainingStep<E extends Example> {
    private final LoadedRun<E> run;
    private final AdamW optimizer;
    private final double maxGradNorm;
    private final long seed;
    private final TrainingConfig.Checkpointing checkpointing;
    private long keptForBackward;
    private boolean changing;

    public TrainingStep(LoadedRun<E> run, AdamW optimizer) {
        this.run = run;
        this.optimizer = optimizer;
        TrainingConfig training = run.config.training();
        maxGradNorm = training.maxGradNorm();
        seed = training.seed();
        checkpointing = training.checkpointing();
    }

    /**
     * What a step did.
     *
     * @param loss mean over all that counts in it
     * @param gradNorm joint norm of all gradients before clipping
     */
    public record Outcome(double loss, double gradNorm, long tokens) {}

    /**
     * Runs the step.
     *
     * @param microBatches numbers of the training examples of each
     * @param step number of the step from 1, for messages and seeds
     * @param factor of the learning-rate schedule
     * @throws TrainingException if loss or gradients are not finite; the parameters are those before the step then
     */
    public Outcome run(List<int[]> microBatches, long step, double factor) {
        double weight = 0;
        long tokens = 0;
        for (int[] numbers : microBatches) {
            for (int number : numbers) {
                E example = run.train.examples().get(number);
                weight += run.task.weight(example, run.adapter.inserted());
                tokens += example.tokens();
            }
        }
        double loss = 0;
        for (int i = 0; i < microBatches.size(); i++) {
            loss += backward(microBatches.get(i), step, i, weight == 0 ? 1 : weight);
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

    private double backward(int[] numbers, long step, int micro, double weight) {
        try {
            return Ops.checked(() -> {
                try (PointerScope scope = new PointerScope()) {
                    return backward(run.train.batch(numbers), Seeds.of(seed, step, micro), weight);
                }
            });
        } catch (DeviceException e) {
            throw new DeviceException("step " + step + ": " + e.getMessage(), e);
        }
    }

    /** The micro-batch's part of the step's loss: its sum, divided by the weight of the whole step. */
    private double backward(Batch<E> batch, long callSeed, double weight) {
        try (ForwardContext context = ForwardContext.training(batch.packing(), callSeed, run.adapter)) {
            if (checkpointing == TrainingConfig.Checkpointing.BLOCK) {
                try (RecomputedBlocks blocks = new RecomputedBlocks()) {
                    return backward(blocks, batch, context, weight);
                }
            }
            return backward(BlockRunner.plain(), batch, context, weight);
        }
    }

    private double backward(BlockRunner blocks, Batch<E> batch, ForwardContext context, double weight) {
        long before = Ops.liveBytes();
        ReadRows reads = run.task.reads(run.model.head(), batch);
        Tensor h = blocks.forward(run.model.model(), batch.inputs(), reads, context);
        Tensor loss = run.task.loss(run.model.head(), h, batch, context).div(new Scalar(weight));
        keptForBackward = Ops.liveBytes() - before;
        blocks.backward(loss, context);
        return loss.item_double();
    }
}
