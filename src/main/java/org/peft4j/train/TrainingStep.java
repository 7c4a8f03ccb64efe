package org.peft4j.train;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.Dtype;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.DeviceException;
import org.peft4j.error.TrainingException;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.RecomputedBlocks;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.nn.seam.StepHook;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;
import org.peft4j.optim.Optimizer;
import org.peft4j.task.Batch;
import org.peft4j.task.Example;

/**
 * One optimiser step: forward and backward of its micro-batches, whose gradients add up, then the optimiser. The loss is the sum
 * of the losses of all of them over the sum of their weights, so what counts alike counts alike in whichever micro-batch it
 * comes (the mean of the means would weigh the rows of a small one more). Owns backward; what the adapter's {@link StepHook}s ask
 * for between backward and the optimiser, or behind it, happens here.
 */
public final class TrainingStep<E extends Example> {
    private final LoadedRun<E> run;
    private final Optimizer optimizer;
    private final double maxGradNorm;
    private final long seed;
    private final TrainingConfig.Checkpointing checkpointing;
    private long keptForBackward;
    private boolean changing;
    private final List<Parameter> still;
    private final List<StepHook> hooks;
    private final @Nullable LossScale lossScale;

    /** Parameters of the run that the optimiser does not have stay as they are. */
    public TrainingStep(LoadedRun<E> run, Optimizer optimizer) {
        this(run, optimizer, run.config.training().seed(), run.adapter.hooks());
    }

    /**
     * @param seed of dropout
     * @param hooks what is asked of this step
     */
    TrainingStep(LoadedRun<E> run, Optimizer optimizer, long seed, List<StepHook> hooks) {
        this.run = run;
        this.optimizer = optimizer;
        this.seed = seed;
        this.hooks = hooks;
        TrainingConfig training = run.config.training();
        maxGradNorm = training.maxGradNorm();
        List<Parameter> others = new ArrayList<>(run.adapter.parameters().values());
        optimizer.groups().forEach(group -> others.removeAll(group.parameters()));
        still = List.copyOf(others);
        checkpointing = training.checkpointing();
        lossScale = run.config.model().dtype() == Dtype.FLOAT16 ? new LossScale() : null;
    }

    /**
     * What a step did.
     *
     * @param loss mean over all that counts in it
     * @param gradNorm joint norm of all gradients before clipping; of a step that float16 left out 0
     */
    public record Outcome(double loss, double gradNorm, long tokens) {}

    /**
     * A step that was begun: a card may still be at it. The CPU, and float16, whose gradients may have to be thrown away, do not begin
     * another one before this one is known.
     */
    public final class Begun {
        private final long step;
        private final long tokens;
        private final List<Tensor> losses;
        private final Tensor norm;

        private Begun(long step, long tokens, List<Tensor> losses, Tensor norm) {
            this.step = step;
            this.tokens = tokens;
            this.losses = losses;
            this.norm = norm;
        }

        /**
         * Waits for the card; once.
         *
         * @throws TrainingException if loss or gradients are not finite: the parameters are lost then
         */
        public Outcome outcome() {
            try {
                return Ops.checked(() -> new Outcome(
                        finite("loss", sum(losses), step), finite("gradient norm", norm.item_double(), step), tokens));
            } finally {
                discard();
            }
        }

        /** Frees its numbers, which nobody wants any more. */
        public void discard() {
            losses.forEach(Tensor::close);
            norm.close();
        }
    }

    /**
     * Runs the step to its end.
     *
     * @param microBatches numbers of the training examples of each
     * @param step number of the step from 1, for messages and seeds
     * @param factor of the learning-rate schedule
     * @throws TrainingException if loss or gradients are not finite; the parameters are those before the step then, unless
     *     {@link #runsAhead}
     */
    public Outcome run(List<int[]> microBatches, long step, double factor) {
        if (runsAhead()) {
            return begin(microBatches, step, factor).outcome();
        }
        Work work = new Work(microBatches);
        List<Tensor> losses = losses(work, step);
        double loss;
        try {
            loss = finite("loss", Ops.checked(() -> sum(losses)), step);
        } finally {
            losses.forEach(Tensor::close);
        }
        changing = true;
        double norm = inStep(
                step,
                () -> optimizer.step(factor, maxGradNorm, lossScale == null ? 1 : lossScale.value(), around(step)));
        changing = false;
        return new Outcome(loss, kept(norm, step), work.tokens);
    }

    /** Whether steps may be begun before the one before them is known. */
    public boolean runsAhead() {
        return lossScale == null && !run.model.model().device().isCpu();
    }

    /** Begins a step; see {@link #run} and {@link #runsAhead}. */
    public Begun begin(List<int[]> microBatches, long step, double factor) {
        Work work = new Work(microBatches);
        List<Tensor> losses = losses(work, step);
        changing = true;
        try {
            Tensor norm = inStep(step, () -> optimizer.stepAhead(factor, maxGradNorm, around(step)));
            changing = false;
            return new Begun(step, work.tokens, losses, norm);
        } catch (RuntimeException e) {
            losses.forEach(Tensor::close);
            throw e;
        }
    }

    /** Steps that float16 left out because their gradients overflowed. */
    public long leftOut() {
        return lossScale == null ? 0 : lossScale.overflows();
    }

    /** The norm of a step that counts, 0 of one that is left out. */
    private double kept(double norm, long step) {
        if (lossScale == null || Double.isFinite(norm)) {
            if (lossScale != null) {
                lossScale.fits();
            }
            return finite("gradient norm", norm, step);
        }
        if (!lossScale.overflowed()) {
            throw notFinite("gradient norm", norm, step);
        }
        return 0;
    }

    /** The micro-batches of a step and what they count together. */
    private final class Work {
        private final List<int[]> microBatches;
        private final double weight;
        private final long tokens;

        private Work(List<int[]> microBatches) {
            this.microBatches = microBatches;
            double sum = 0;
            long all = 0;
            int told = run.adapter.told().size();
            int inserted = run.stack.stream().mapToInt(Adapter::inserted).sum();
            for (int[] numbers : microBatches) {
                for (int number : numbers) {
                    E example = run.train.examples().get(number);
                    sum += run.task.weight(example, inserted);
                    sum += (double) told * run.task.telling(example);
                    all += example.tokens();
                }
            }
            weight = sum == 0 ? 1 : sum;
            tokens = all;
        }
    }

    /** The micro-batches' parts of the loss, whose gradients are there (or on their way); the caller closes them. */
    private List<Tensor> losses(Work work, long step) {
        List<Tensor> losses = new ArrayList<>();
        try {
            for (int i = 0; i < work.microBatches.size(); i++) {
                losses.add(backward(work.microBatches.get(i), step, i, work.weight));
            }
            if (!run.adapter.invocations().isEmpty()) {
                zeroWithoutPart();
            } else {
                checkPart();
            }
            for (StepHook hook : hooks) {
                inStep(step, () -> {
                    penalty(hook, losses);
                    return true;
                });
            }
            still.forEach(parameter -> parameter.value().mutable_grad().reset());
            for (StepHook hook : hooks) {
                inStep(step, () -> {
                    hook.beforeClipping();
                    return true;
                });
            }
            return losses;
        } catch (RuntimeException e) {
            losses.forEach(Tensor::close);
            throw e;
        }
    }

    /** Refuses to go on where nothing that is trained had a part in the loss. */
    private void checkPart() {
        if (run.adapter.parameters().values().stream()
                .noneMatch(parameter -> parameter.value().grad().defined())) {
            throw new TrainingException(
                    "nothing that the adapter trains has a part in the loss: no gradient came back; see"
                            + " whether its layers are among those that the task reads");
        }
    }

    /** Gradients of 0 where no text of the step had what calls the adapter up, as in PEFT: the optimiser's moments decay. */
    private void zeroWithoutPart() {
        for (Parameter parameter : run.adapter.parameters().values()) {
            Tensor value = parameter.value();
            if (!value.grad().defined()) {
                Scopes.scoped(() -> value.mutable_grad().put(torch.zeros_like(value.detach())));
            }
        }
    }

    /** Adds a hook's part to the step's loss, to one of its parts that are there: who reads them waits no more often. */
    private void penalty(StepHook hook, List<Tensor> losses) {
        try (PointerScope scope = new PointerScope()) {
            Optional<Tensor> penalty = hook.penalty();
            if (penalty.isPresent()) {
                scaled(penalty.get()).backward();
                Tensor last = losses.get(losses.size() - 1);
                losses.set(
                        losses.size() - 1,
                        Scopes.owned(() -> last.add(penalty.get().detach())));
                last.close();
            }
        }
    }

    private Optimizer.Around around(long number) {
        if (hooks.isEmpty()) {
            return Optimizer.Around.NOTHING;
        }
        StepHook.Step step = new StepHook.Step(number, run.batches.totalSteps());
        return new Optimizer.Around() {
            @Override
            public void before() {
                hooks.forEach(hook -> hook.beforeOptimizer(step));
            }

            @Override
            public void after() {
                hooks.forEach(hook -> hook.afterOptimizer(step));
                if (hooks.stream().anyMatch(hook -> hook.startsAnew(step))) {
                    optimizer.forget();
                }
            }
        };
    }

    private Tensor scaled(Tensor loss) {
        return lossScale == null ? loss : loss.mul(new Scalar(lossScale.value()));
    }

    private static double sum(List<Tensor> losses) {
        double sum = 0;
        for (Tensor loss : losses) {
            sum += loss.item_double();
        }
        return sum;
    }

    private static double finite(String what, double value, long step) {
        if (!Double.isFinite(value)) {
            throw notFinite(what, value, step);
        }
        return value;
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

    private Tensor backward(int[] numbers, long step, int micro, double weight) {
        return inStep(
                step,
                () -> Scopes.owned(() -> backward(run.train.batch(numbers), Seeds.of(seed, step, micro), weight)));
    }

    private static <T> T inStep(long step, Supplier<T> work) {
        try {
            return Ops.checked(work);
        } catch (DeviceException e) {
            throw new DeviceException("step " + step + ": " + e.getMessage(), e);
        }
    }

    /** The micro-batch's part of the step's loss: its sum, divided by the weight of the whole step. */
    private Tensor backward(Batch<E> batch, long callSeed, double weight) {
        try (ForwardContext context = ForwardContext.training(
                        batch.packing(), callSeed, run.stack.toArray(Adapter[]::new))
                .withInstructions(run.task.instructions(batch))
                .withTasks(batch.tasks())) {
            if (checkpointing == TrainingConfig.Checkpointing.BLOCK) {
                try (RecomputedBlocks blocks = new RecomputedBlocks()) {
                    return backward(blocks, batch, context, weight);
                }
            }
            return backward(BlockRunner.plain(), batch, context, weight);
        }
    }

    private Tensor backward(BlockRunner blocks, Batch<E> batch, ForwardContext context, double weight) {
        Device device = run.model.model().device();
        long before = Ops.liveBytes(device);
        ReadRows reads = run.task.reads(run.model.head(), batch);
        Tensor h = blocks.forward(run.model.model(), batch.inputs(), reads, context);
        Tensor loss = run.task.loss(run.model.head(), h, batch, context).div(new Scalar(weight));
        keptForBackward = Ops.liveBytes(device) - before;
        blocks.backward(scaled(loss), context);
        return loss.detach();
    }
}
