package org.peft4j.train;

import java.util.Arrays;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.config.Dtype;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.DeviceException;
import org.peft4j.error.TrainingException;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Calibration;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.ops.Ops;
import org.peft4j.task.Batch;
import org.peft4j.task.Dataset;
import org.peft4j.task.Example;
import org.peft4j.task.Task;
import org.peft4j.task.TaskType;

/**
 * Takes the first rows of a run through the frozen model, with the frozen adapters of the run, in the batches and the order of its first epoch, for a method that wants to
 * see them before it begins.
 */
final class FirstLook<E extends Example> {
    private final Calibration<?> calibration;
    private final TrainingConfig training;
    private final HeadedModel model;
    private final Task<E> task;
    private final Dataset<E> rows;
    private final EpochBatches batches;
    private final List<Adapter> adapters;

    private FirstLook(
            Calibration<?> calibration,
            TrainingConfig training,
            HeadedModel model,
            TaskType.Prepared<E> prepared,
            FrozenAdapters frozen) {
        adapters = frozen.under(calibration.observer());
        this.calibration = calibration;
        this.training = training;
        this.model = model;
        task = prepared.task();
        rows = prepared.train();
        batches = new EpochBatches(training, rows, task.sumsOverRows());
    }

    /**
     * Looks, and attaches.
     *
     * @param stop whether to look no further
     * @throws IllegalArgumentException if what was seen does not do
     * @throws TrainingException if a loss is not finite, or it was stopped
     */
    static <C extends MethodConfig, E extends Example> AdapterStore.Loaded attach(
            Calibration<C> calibration,
            RunConfig config,
            HeadedModel model,
            TaskType.Prepared<E> prepared,
            FrozenAdapters frozen,
            BooleanSupplier stop) {
        if (calibration.needsGradient() && config.model().dtype() == Dtype.FLOAT16) {
            throw new IllegalArgumentException(
                    "dtype must be float32 or bfloat16 for a method that begins with gradients,"
                            + " which are too small for float16, got float16");
        }
        frozen.checkRowsOfTexts();
        FirstLook<E> look = new FirstLook<>(calibration, config.training(), model, prepared, frozen);
        MemoryCheck.ofFirstLook(
                calibration, config, model, look.batches, prepared.task().headKind() == HeadKind.LANGUAGE);
        look.look(stop);
        Ops.freeKeptBytes(model.model().device()); // the run's own steps are of other sizes
        Calibration.Started<C> started = calibration.attach("default");
        return new AdapterStore.Loaded(started.adapter(), started.config(), started.notes());
    }

    private void look(BooleanSupplier stop) {
        int left = calibration.rows();
        List<int[]> first = batches.of(0);
        for (int i = 0; i < first.size() && left > 0 && !calibration.enough(); i++) {
            if (stop.getAsBoolean()) {
                throw new TrainingException("interrupted while the method looked at its first rows");
            }
            int[] batch = first.get(i);
            int[] own = batch.length > left ? Arrays.copyOf(batch, left) : batch;
            if (own.length == 1 && !task.sumsOverRows() && i > 0) {
                return; // of one row alone nothing can be learned in this task
            }
            left -= own.length;
            see(rows.batch(own.length == 1 && !task.sumsOverRows() ? batch : own), i);
        }
    }

    private void see(Batch<E> batch, int number) {
        calibration.before(batch.packing(), task.learnt(batch));
        try {
            Ops.checked(() -> {
                try (PointerScope scope = new PointerScope()) {
                    if (calibration.needsGradient()) {
                        forwardAndBack(batch, number);
                    } else {
                        forward(batch);
                    }
                    return null;
                }
            });
        } catch (DeviceException e) {
            throw new DeviceException(
                    "batch " + (number + 1) + " of those that the method looks at first: " + e.getMessage(), e);
        }
    }

    /** Every row through every block: the last one, too, which would leave out what nobody reads. */
    private void forward(Batch<E> batch) {
        try (NoGradGuard noGrad = new NoGradGuard();
                ForwardContext context = ForwardContext.inference(batch.packing(), adapters.toArray(Adapter[]::new))
                        .withInstructions(task.instructions(batch))) {
            BlockRunner.plain().forward(model.model(), batch.inputs(), ReadRows.ALL, context);
        }
    }

    private void forwardAndBack(Batch<E> batch, int number) {
        long seed = Seeds.of(Seeds.mix(training.seed(), "first look"), number, 0);
        try (ForwardContext context = ForwardContext.training(batch.packing(), seed, adapters.toArray(Adapter[]::new))
                .withInstructions(task.instructions(batch))) {
            if (training.checkpointing() == TrainingConfig.Checkpointing.BLOCK) {
                try (RecomputedBlocks blocks = new RecomputedBlocks()) {
                    forwardAndBack(blocks, batch, context);
                }
            } else {
                forwardAndBack(BlockRunner.plain(), batch, context);
            }
        }
    }

    /** The batch's mean loss. */
    private void forwardAndBack(BlockRunner blocks, Batch<E> batch, ForwardContext context) {
        ReadRows reads = task.reads(model.head(), batch);
        Tensor h = blocks.forward(model.model(), batch.inputs(), reads, context);
        double weight = batch.examples().stream()
                .mapToDouble(example -> task.weight(
                        example, adapters.stream().mapToInt(Adapter::inserted).sum()))
                .sum();
        Tensor loss = task.loss(model.head(), h, batch, context).div(new Scalar(weight == 0 ? 1 : weight));
        double value = loss.item_double();
        if (!Double.isFinite(value)) {
            throw new TrainingException("the loss of the frozen model is not finite (" + value
                    + ") on the rows that the method looks at first; try dtype float32");
        }
        blocks.backward(loss, context);
    }
}
