package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.DeviceException;
import org.peft4j.error.TrainingException;
import org.peft4j.info.Machine;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.metrics.Evaluation;
import org.peft4j.nn.Dropout;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;
import org.peft4j.optim.Optimizer;
import org.peft4j.optim.ParameterGroup;
import org.peft4j.report.Report;
import org.peft4j.run.RunResult;
import org.peft4j.run.RunSummary;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;
import org.peft4j.run.files.MetricsFile;
import org.peft4j.run.files.RunDirectory;
import org.peft4j.run.files.RunLock;
import org.peft4j.task.Dataset;
import org.peft4j.task.Example;

/**
 * A run from its first step to its report: the loop over batches, saves, evaluations and files.
 *
 * <p>On a card a step is begun before the numbers of the one before it are there; whoever wants to see them all waits for them first
 * ({@link #known}). So a card never waits for the host, and a loss that is not finite is found one step later.
 *
 * <p>The adapter is saved before each evaluation, and where anything but the training itself fails (the listener, an evaluation,
 * memory for a step) the adapter of the last whole step is.
 */
public final class TrainingRun<E extends Example> {
    private final LoadedRun<E> run;
    private final RunDirectory directory;
    private final TrainListener listener;
    private final Interrupts interrupts;
    private final RunSummary summary;
    private final Optimizer optimizer;
    private final TrainingStep<E> step;
    private final @Nullable SecondLevel<E> second;
    private final long begin = System.nanoTime();
    private MetricsFile metrics;
    private long steps;
    private long saved;
    private long tokens;
    private double stepSeconds;
    private @Nullable Begun begun;
    private long known = System.nanoTime();

    private TrainingRun(LoadedRun<E> run, RunDirectory directory, TrainListener listener, Interrupts interrupts)
            throws IOException {
        this.run = run;
        this.directory = directory;
        this.listener = listener;
        this.interrupts = interrupts;
        summary = new RunSummary(
                run.config,
                new RunSummary.Rows(run.train.size(), run.train.cut(), run.train.labelCounts(), texts(run.train)),
                run.batches.totalSteps(),
                new RunSummary.Parameters(run.trained(), run.modelParameters()),
                new RunSummary.Environment(
                        Instant.now(),
                        Machine.compute(
                                run.model.model().device().toString(),
                                run.config.model().dtype()),
                        Machine.versions()),
                run.notes);
        interrupts.undisturbed(() -> directory.write(summary, null));
        metrics = MetricsFile.append(directory.metricsFile());
        optimizer = run.optimizer(run.groups(false));
        step = new TrainingStep<>(run, optimizer);
        second = run.secondBatches == null ? null : new SecondLevel<>(run, run.secondBatches);
    }

    private static RunSummary.@Nullable Texts texts(Dataset<?> rows) {
        Dataset.Texts texts = rows.texts();
        return texts == null
                ? null
                : new RunSummary.Texts(
                        texts.forms(), texts.template(), Double.isNaN(texts.full()) ? null : texts.full());
    }

    /**
     * Loads and trains.
     *
     * @param base an opened model to train on, or null to open the run's own
     * @param rows where the rows come from
     * @param overwrite whether a former run in the output directory may be replaced
     * @param interrupts end the run after the current step
     */
    public static RunResult train(
            RunConfig config,
            @Nullable OpenedModel base,
            RunRows rows,
            boolean overwrite,
            TrainListener listener,
            Interrupts interrupts)
            throws IOException {
        try (LoadedRun<?> run = load(config, base, rows, overwrite, interrupts)) {
            return run == null ? nothingDone() : train(run, overwrite, listener, interrupts);
        }
    }

    /** Null if an interrupt came. */
    private static @Nullable LoadedRun<?> load(
            RunConfig config, @Nullable OpenedModel base, RunRows rows, boolean overwrite, Interrupts interrupts)
            throws IOException {
        LoadedRun<?> run = null;
        try {
            if (!interrupts.seen()) {
                RunLock.check(config.output()); // both before the work of loading
                RunDirectory.check(config.output(), overwrite);
                run = LoadedRun.load(config, base, rows, interrupts::seen);
            }
        } catch (IOException | RuntimeException e) {
            if (!interrupts.seen()) {
                throw e;
            }
        }
        if (run != null && interrupts.seen()) {
            run.close();
            return null;
        }
        return run;
    }

    private static <E extends Example> RunResult train(
            LoadedRun<E> run, boolean overwrite, TrainListener listener, Interrupts interrupts) throws IOException {
        Path output = run.config.output();
        checkDropout(run);
        RunDirectory.checkFolders(
                output, Methods.of(run.method).inside(run.adapter).size());
        boolean made = !Files.isDirectory(output); // a link to one is one
        if (made) {
            Files.createDirectories(output);
        }
        try {
            return train(run, output, overwrite, listener, interrupts);
        } finally {
            if (made) {
                deleteIfEmpty(output);
            }
        }
    }

    /** What was made for a run that left nothing goes again. */
    private static void deleteIfEmpty(Path output) {
        try {
            Files.delete(output);
        } catch (IOException e) {
            // it has files, as it should
        }
    }

    private static <E extends Example> RunResult train(
            LoadedRun<E> run, Path output, boolean overwrite, TrainListener listener, Interrupts interrupts)
            throws IOException {
        try (RunLock lock = interrupts.undisturbedly(() -> RunLock.take(output))) {
            RunDirectory directory = interrupts.undisturbedly(() -> RunDirectory.create(output, overwrite));
            TrainingRun<E> trainer;
            try {
                trainer = new TrainingRun<>(run, directory, listener, interrupts);
            } catch (IOException | RuntimeException e) {
                directory.abandon();
                throw e;
            }
            return trainer.run();
        }
    }

    private static void checkDropout(LoadedRun<?> run) {
        String setting = run.config.adapter() == null ? "method.dropout" : "dropout of adapter " + run.config.adapter();
        run.adapter.lowRanks().forEach(claim -> Dropout.check(setting, claim.dropout()));
    }

    private static RunResult nothingDone() {
        return new RunResult(RunResult.Status.INTERRUPTED, Instant.now(), 0, 0, 0, null);
    }

    private RunResult run() throws IOException {
        RunResult result;
        try (optimizer;
                second) {
            listener.started(summary);
            if (!interrupts.seen()) {
                epochs();
            }
            if (steps == 0) {
                metrics.close();
                directory.abandon();
                return nothingDone();
            }
            save();
            result = end(interrupts.seen() ? RunResult.Status.INTERRUPTED : RunResult.Status.FINISHED, null);
        } catch (IOException | RuntimeException | Error e) {
            attempt(e, () -> {
                if (!(e instanceof TrainingException) && !changing()) {
                    save();
                }
            });
            if (begun != null) { // its numbers are of no use behind a failure
                begun.discard().run();
            }
            attempt(e, () -> listener.finished(end(RunResult.Status.FAILED, e.getMessage())));
            throw e;
        }
        listener.finished(result);
        return result;
    }

    private boolean changing() {
        return step.changing() || second != null && second.changing();
    }

    /** Whether steps may be begun before the one before them is known. */
    private boolean runsAhead() {
        return second == null && step.runsAhead();
    }

    /** Does what a failure leaves to do; it matters more than what fails then. */
    private static void attempt(Throwable failure, Interrupts.FileWork work) {
        try {
            work.run();
        } catch (IOException | RuntimeException | Error second) {
            if (second != failure) {
                failure.addSuppressed(second);
            }
        }
    }

    /** Trains until all steps are done or an interrupt comes. */
    private void epochs() throws IOException {
        TrainingConfig training = run.config.training();
        for (int epoch = 0; epoch < training.epochs() && steps < summary.totalSteps(); epoch++) {
            List<int[]> all = run.batches.of(epoch);
            int accumulate = training.gradientAccumulation();
            for (int i = 0; i < all.size() && steps < summary.totalSteps(); i += accumulate) {
                List<int[]> micro = all.subList(i, Math.min(all.size(), i + accumulate));
                double seen = epoch + (double) Math.min(all.size(), i + accumulate) / all.size();
                step(micro, seen);
                if (interrupts.seen()) {
                    return;
                }
                boolean last = i + accumulate >= all.size() || steps == summary.totalSteps();
                if (training.saveEvery() > 0 && steps % training.saveEvery() == 0) {
                    save();
                }
                if (training.evaluateEvery() > 0 && steps % training.evaluateEvery() == 0 && !last) {
                    evaluate();
                }
            }
            save();
            evaluate();
            if (interrupts.seen()) {
                return;
            }
        }
    }

    private void step(List<int[]> micro, double epoch) throws IOException {
        TrainingConfig training = run.config.training();
        long started = System.nanoTime();
        double factor = training.schedule().factor(steps, summary.totalSteps());
        Supplier<TrainingStep.Outcome> outcome;
        Runnable discard;
        if (runsAhead()) {
            TrainingStep<E>.Begun ahead = step.begin(micro, steps + 1, factor);
            outcome = ahead::outcome;
            discard = ahead::discard;
        } else {
            TrainingStep.Outcome done = alsoSecond(step.run(micro, steps + 1, factor), factor);
            outcome = () -> done;
            discard = () -> {};
        }
        steps++;
        Begun before = begun;
        begun = new Begun(steps, epoch, factor, started, outcome, discard);
        tell(before);
        if (!runsAhead()) {
            known();
        }
    }

    /** Loss and norm are those of the first level. */
    private TrainingStep.Outcome alsoSecond(TrainingStep.Outcome first, double factor) {
        if (second == null) {
            return first;
        }
        TrainingStep.Outcome own = second.run(steps + 1, factor);
        return new TrainingStep.Outcome(first.loss(), first.gradNorm(), first.tokens() + own.tokens());
    }

    /** A step whose numbers are not told yet. */
    private record Begun(
            long number,
            double epoch,
            double factor,
            long started,
            Supplier<TrainingStep.Outcome> outcome,
            Runnable discard) {}

    /** Waits for the numbers of all steps, and tells them. */
    private void known() throws IOException {
        Begun last = begun;
        begun = null;
        tell(last);
    }

    private void tell(@Nullable Begun of) throws IOException {
        if (of == null) {
            return;
        }
        TrainingStep.Outcome outcome = of.outcome().get();
        double seconds = seconds(Math.max(of.started(), known)); // the steps of a card follow each other
        known = System.nanoTime();
        tokens += outcome.tokens();
        stepSeconds += seconds;
        Map<String, Double> rates = new LinkedHashMap<>();
        for (ParameterGroup group : run.groups) {
            rates.put(group.name(), optimizer.rate(group, of.factor(), of.number()));
        }
        StepMetrics done = new StepMetrics(
                of.number(),
                of.epoch(),
                outcome.loss(),
                rates,
                outcome.gradNorm(),
                new StepMetrics.Speed(outcome.tokens(), outcome.tokens() / seconds, seconds(begin)));
        metrics.write(done);
        listener.step(done, summary.totalSteps());
    }

    /** Saves before: whatever goes wrong in it, the steps so far are kept. */
    private void evaluate() throws IOException {
        if (run.validation == null) {
            return;
        }
        save();
        if (interrupts.seen()) {
            return;
        }
        Evaluation evaluation = evaluation(run.validation);
        metrics.write("validation", steps, evaluation);
        listener.evaluated("validation", steps, evaluation);
    }

    private Evaluation evaluation(Dataset<E> rows) {
        try {
            return Ops.checked(() -> Inference.evaluate(
                    run.model.model(),
                    run.task,
                    run.model.head(),
                    run.stack,
                    rows,
                    new EpochBatches(run.config.training(), rows, true).inOrder()));
        } catch (DeviceException e) {
            throw new DeviceException("evaluation after step " + steps + ": " + e.getMessage(), e);
        }
    }

    /** Saves the adapter as it is after the last step, if it is not saved yet. */
    private void save() throws IOException {
        known();
        if (saved == steps) {
            return;
        }
        checkFinite();
        boolean moves = directory.isBesideFormer();
        if (moves) {
            metrics.close();
        }
        interrupts.undisturbed(() -> directory.save(this::write));
        if (moves) {
            metrics = MetricsFile.append(directory.metricsFile());
        }
        saved = steps;
        listener.saved(directory.path());
    }

    /** A step with a finite loss can still end beyond the numbers of float32. */
    private void checkFinite() {
        for (Parameter parameter : run.adapter.parameters().values()) {
            if (!Ops.isFinite(parameter.value())) {
                throw new TrainingException(
                        parameter.path() + " is not finite after step " + steps
                                + "; try a lower learning_rate or a longer warm-up. What was saved is the adapter of an earlier step");
            }
        }
    }

    private void write(Path to) throws IOException {
        run.settings().write(to);
        run.task.writeBesideAdapter(to);
        AdapterStore.write(
                to,
                run.adapter,
                run.method,
                run.model.points(),
                run.config.model().path().toString(),
                run.task.peftName());
    }

    /**
     * Writes what belongs behind training, the report and then {@code run.json} with the result. A report that fails is told in
     * the result's message; the adapter is there, and the run is what it was. A run that failed before it saved leaves a
     * former one as it is.
     */
    private RunResult end(RunResult.Status status, @Nullable String message) throws IOException {
        metrics.close();
        // Tokens a second are those of the steps: evaluation and saving are no training.
        RunResult result = new RunResult(status, Instant.now(), steps, tokens, stepSeconds, message);
        if (directory.isBesideFormer()) {
            directory.abandon();
            return result;
        }
        String trouble = report(result);
        RunResult told = message == null ? result.withMessage(trouble == null ? leftOut() : trouble) : result;
        interrupts.undisturbed(() -> directory.write(summary, told));
        return told;
    }

    /** What float16 left out, or null. */
    private @Nullable String leftOut() {
        return step.leftOut() == 0
                ? null
                : step.leftOut() + " of " + steps
                        + " steps changed nothing: their gradients were too large for float16";
    }

    /** Returns what went wrong, or null. */
    private @Nullable String report(RunResult result) throws IOException {
        try {
            interrupts.undisturbed(() -> Report.write(directory.path(), RunDirectory.json(summary, result)));
            return null;
        } catch (IOException | RuntimeException | LinkageError e) {
            return "the report could not be written: " + (e.getMessage() == null ? e : e.getMessage());
        }
    }

    private static double seconds(long since) {
        return (System.nanoTime() - since) / 1e9;
    }
}
