package org.peft4j.train;

import java.util.List;
import java.util.Locale;
import java.util.function.ToLongFunction;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.DeviceException;
import org.peft4j.host.ByteCount;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorLocation;
import org.peft4j.method.spi.Calibration;
import org.peft4j.model.CardMemory;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.StepHook;
import org.peft4j.ops.Device;
import org.peft4j.ops.Devices;
import org.peft4j.optim.UpdateRule;

/** Refuses what cannot fit on a card before it is tried. Of the CPU's memory nobody knows how much there is: swap, other processes. */
final class MemoryCheck {
    private MemoryCheck() {}

    /**
     * Before a model is opened: whether its weights fit.
     *
     * @param promised bytes that other models will still take there
     * @throws DeviceException if they do not
     */
    static void ofModel(ModelDirectory directory, ModelOptions options, long promised) {
        if (options.device().isCpu()) {
            return;
        }
        long numbers = 0;
        for (TensorLocation location : directory.tensors().values()) {
            numbers +=
                    location.info().shape().stream().mapToLong(Long::longValue).reduce(1, (a, b) -> a * b);
        }
        long bytes = numbers * options.elementSize();
        long free = Math.max(0, Devices.freeBytes(options.device()) - promised);
        if (bytes > free) {
            throw new DeviceException(
                    "the model's weights need " + ByteCount.text(bytes) + " on " + options.device() + ", of which "
                            + ByteCount.text(free)
                            + " are free; "
                            + (options.elementSize() > Short.BYTES
                                    ? "dtype bfloat16 needs half of it"
                                    : "close what else is open there")
                            + ", or choose another device",
                    null);
        }
    }

    /**
     * Before the first step: whether a run fits.
     *
     * @throws DeviceException if it does not; the message says what would
     */
    static void ofRun(LoadedRun<?> run) {
        Device device = run.model.model().device();
        if (device.isCpu()) {
            return;
        }
        TrainingConfig training = run.config.training();
        boolean wide = run.config.model().dtype().weightBytes() > Short.BYTES;
        MemoryNeed need = need(run, wide ? Float.BYTES : Short.BYTES, 1);
        MemoryNeed.Batch batch = new MemoryNeed.Batch(
                most(run, EpochBatches::mostTokens),
                most(run, EpochBatches::longest),
                training.batchTokens() > 0,
                training.checkpointing() == TrainingConfig.Checkpointing.BLOCK);
        long free = Devices.freeBytes(device)
                + Float.BYTES * (run.adapter.elements() + run.frozenElements()); // they are there, and in the need
        if (need.total(batch.tokens(), batch.recomputed()) > free) {
            throw new DeviceException(
                    need.refusal(batch, free, device.toString(), wide ? need(run, Short.BYTES, 2) : null), null);
        }
    }

    /**
     * Before an adapter is made: whether its numbers fit beside the model's, as those of a copy of the model may not.
     *
     * @param trained how many it has
     * @throws DeviceException if they do not
     */
    static void ofAdapter(long trained, Points points) {
        long largest = points.tensors().values().stream()
                .mapToLong(point -> point.value().numel())
                .max()
                .orElse(0);
        checkFiles(trained, Math.min(trained, largest), Runtime.getRuntime().maxMemory());
        Device device = points.device();
        if (device.isCpu()) {
            return;
        }
        long free = Devices.freeBytes(device);
        if (Float.BYTES * trained > free) {
            throw new DeviceException(
                    "the adapter's " + String.format(Locale.ROOT, "%,d", trained) + " numbers alone need "
                            + ByteCount.text(Float.BYTES * trained) + " on " + device + ", of which "
                            + ByteCount.text(free)
                            + " are free, and as much again for gradients and twice as much for the optimiser;"
                            + " train less of the model, or choose another card",
                    null);
        }
    }

    /**
     * Refuses an adapter that could be trained, but not saved: its files are put together in Java's memory.
     *
     * @param largest numbers of the largest tensor, which is there twice for a moment
     * @param most bytes of it
     */
    static void checkFiles(long trained, long largest, long most) {
        long bytes = Float.BYTES * (trained + largest);
        if (bytes > most / 10 * 9) {
            throw new DeviceException(
                    "saving the adapter of " + ByteCount.text(Float.BYTES * trained) + " takes "
                            + ByteCount.text(bytes) + " of Java's memory, which may be "
                            + ByteCount.text(most) + "; start Java with a larger -Xmx, at least "
                            + ByteCount.text(bytes / 9 * 10 + 10) + ", or train less of the model",
                    null);
        }
    }

    /**
     * Before a method looks at rows: whether what it keeps of them fits, beside a batch's activations.
     *
     * @throws DeviceException if it does not
     */
    static void ofFirstLook(
            Calibration<?> calibration, RunConfig config, HeadedModel model, EpochBatches batches, boolean language) {
        Device device = model.model().device();
        if (device.isCpu()) {
            return;
        }
        boolean wide = config.model().dtype().weightBytes() > Short.BYTES;
        MemoryNeed need = MemoryNeed.of(
                sizes(model.points()),
                CardMemory.toCome(model.model()),
                MemoryNeed.Numbers.NONE,
                wide ? Float.BYTES : Short.BYTES,
                language);
        boolean recomputed = config.training().checkpointing() == TrainingConfig.Checkpointing.BLOCK;
        long step = calibration.needsGradient()
                ? need.total(batches.mostTokens(), recomputed)
                : need.weights() + batches.mostTokens() * need.perTokenOfBlock();
        long free = Devices.freeBytes(device);
        if (calibration.bytes() + step > free) {
            throw new DeviceException(
                    "what the method keeps of the rows that it looks at first needs "
                            + ByteCount.text(calibration.bytes()) + " on " + device + ", and weights and a batch "
                            + ByteCount.text(step) + ", of which " + ByteCount.text(free)
                            + " are free; adapt fewer layers, lower training.batch_size, or choose a method.init that looks"
                            + " at no rows",
                    null);
        }
    }

    /** Of the batches of all parameters. */
    private static long most(LoadedRun<?> run, ToLongFunction<EpochBatches> of) {
        EpochBatches second = run.secondBatches;
        return Math.max(of.applyAsLong(run.batches), second == null ? 0 : of.applyAsLong(second));
    }

    /** @param narrower how many times smaller the weights are than now */
    private static MemoryNeed need(LoadedRun<?> run, int element, int narrower) {
        return MemoryNeed.of(
                sizes(run.model.points()),
                CardMemory.toCome(run.model.model(), run.replaced()) / narrower,
                numbers(run),
                element,
                run.task.headKind() == HeadKind.LANGUAGE);
    }

    private static MemoryNeed.Numbers numbers(LoadedRun<?> run) {
        try (UpdateRule rule = run.rule()) {
            long trained = run.trained();
            long atOnce = trained;
            for (StepHook hook : run.adapter.hooks()) {
                atOnce = hook.trainedAtOnce(atOnce);
            }
            double share = trained == 0 ? 1 : (double) atOnce / trained;
            long kept = (long) Math.ceil(rule.kept(run.groups) * share);
            return new MemoryNeed.Numbers(atOnce, kept, run.adapter.elements() - atOnce + run.frozenElements());
        }
    }

    private static MemoryNeed.Sizes sizes(Points points) {
        List<LinearPoint> linears =
                points.linears().stream().filter(point -> !point.head()).toList();
        return new MemoryNeed.Sizes(
                points.layers(),
                points.hiddenSize(),
                linears.stream().mapToLong(LinearPoint::out).sum() / points.layers(),
                linears.stream().mapToLong(LinearPoint::in).max().orElse(0),
                points.queryHeads());
    }
}
