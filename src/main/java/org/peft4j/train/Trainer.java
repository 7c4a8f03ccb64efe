package org.peft4j.train;

import java.io.IOException;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.data.Batches;
import org.peft4j.error.TrainingException;
import org.peft4j.method.AdapterStore;
import org.peft4j.nn.Adapter;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.ParameterGroup;

/**
 * Trains an adapter as a {@link RunConfig} says, and writes the run directory: adapter, {@code run.json},
 * {@code metrics.jsonl}, {@code report.html}. The same settings, seed, machine and number of threads give the same adapter,
 * bit for bit.
 *
 * <p>Interrupting the thread ends the run after the current step; the adapter is saved then, too.
 */
public final class Trainer {
    private static final String TASK_TYPE = "SEQ_CLS";

    private final LoadedRun run;
    private final RunDirectory directory;
    private final TrainListener listener;
    private final MetricsFile metrics;
    private final RunSummary summary;
    private final long begin = System.nanoTime();
    private long steps;
    private long tokens;
    private double stepSeconds;
    private boolean stopped;

    private Trainer(LoadedRun run, RunDirectory directory, TrainListener listener) throws IOException {
        this.run = run;
        this.directory = directory;
        this.listener = listener;
        TrainingConfig training = run.config.training();
        summary = new RunSummary(
                run.config,
                Instant.now(),
                run.train.size(),
                run.train.cut(),
                run.labelCounts(),
                training.totalSteps(run.train.size()),
                run.adapter.elements(),
                run.modelParameters(),
                Machine.compute(training.dtype()),
                run.notes,
                Machine.versions());
        directory.write(summary, null);
        metrics = MetricsFile.append(directory.metricsFile());
    }

    /** Trains into a directory that holds no other run. */
    public static RunResult train(RunConfig config) throws IOException {
        return train(config, false, new TrainListener() {});
    }

    /**
     * Trains.
     *
     * @param overwrite whether a former run in the output directory may be replaced
     * @param listener hears of every step, on this thread
     * @throws IllegalArgumentException if a setting does not fit the model or data; nothing is written then
     * @throws IOException if a file cannot be read or written
     * @throws TrainingException if the loss is no longer finite
     */
    public static RunResult train(RunConfig config, boolean overwrite, TrainListener listener) throws IOException {
        RunDirectory.check(config.output(), overwrite); // before the work of loading
        try (LoadedRun run = LoadedRun.load(config)) {
            RunDirectory directory = RunDirectory.create(config.output(), overwrite);
            return new Trainer(run, directory, listener).run();
        }
    }

    private RunResult run() throws IOException {
        try (metrics;
                AdamW optimizer = new AdamW(run.groups)) {
            listener.started(summary);
            boolean whole = epochs(optimizer);
            save();
            return end(whole ? RunResult.Status.FINISHED : RunResult.Status.INTERRUPTED, null);
        } catch (IOException | RuntimeException e) {
            try {
                end(RunResult.Status.FAILED, e.getMessage());
            } catch (IOException | RuntimeException second) {
                e.addSuppressed(second);
            }
            throw e;
        }
    }

    /** Returns whether all steps were done. */
    private boolean epochs(AdamW optimizer) throws IOException {
        TrainingConfig training = run.config.training();
        TrainingStep step =
                new TrainingStep(run.model, run.adapter, optimizer, training.maxGradNorm(), training.seed());
        for (int epoch = 0; epoch < training.epochs() && steps < summary.totalSteps(); epoch++) {
            List<int[]> batches = training.shuffle()
                    ? Batches.shuffled(run.train.size(), training.batchSize(), training.seed(), epoch)
                    : Batches.inOrder(run.train.size(), training.batchSize());
            int accumulate = training.gradientAccumulation();
            for (int i = 0; i < batches.size() && steps < summary.totalSteps(); i += accumulate) {
                List<int[]> micro = batches.subList(i, Math.min(batches.size(), i + accumulate));
                double seen = epoch + (double) Math.min(batches.size(), i + accumulate) / batches.size();
                step(step, micro, seen);
                if (stopped()) {
                    return false;
                }
                boolean last = i + accumulate >= batches.size() || steps == summary.totalSteps();
                if (training.saveEvery() > 0 && steps % training.saveEvery() == 0) {
                    save();
                }
                if (training.evaluateEvery() > 0 && steps % training.evaluateEvery() == 0 && !last) {
                    evaluate();
                }
            }
            evaluate();
            if (stopped() && steps < summary.totalSteps()) {
                return false;
            }
            if (epoch + 1 < training.epochs() && steps < summary.totalSteps()) {
                save();
            }
        }
        return true;
    }

    private void step(TrainingStep step, List<int[]> micro, double epoch) throws IOException {
        TrainingConfig training = run.config.training();
        long started = System.nanoTime();
        double factor = training.schedule().factor(steps, training.warmupSteps(), summary.totalSteps());
        steps++;
        TrainingStep.Outcome outcome = step.run(run.train, micro, steps, factor);
        stopped();
        double seconds = seconds(started);
        tokens += outcome.tokens();
        stepSeconds += seconds;
        Map<String, Double> rates = new LinkedHashMap<>();
        for (ParameterGroup group : run.groups) {
            rates.put(group.name(), group.learningRate() * factor);
        }
        StepMetrics done = new StepMetrics(
                steps,
                epoch,
                outcome.loss(),
                rates,
                outcome.gradNorm(),
                outcome.tokens(),
                outcome.tokens() / seconds,
                seconds(begin));
        metrics.write(done);
        listener.step(done, summary.totalSteps());
    }

    /**
     * Whether the run is to end. Takes note of an interrupt and clears it, which has to happen before a file is written: a
     * channel that an interrupted thread writes to is closed under it.
     */
    private boolean stopped() {
        stopped |= Thread.interrupted();
        return stopped;
    }

    private void evaluate() throws IOException {
        if (run.validation == null) {
            return;
        }
        Evaluation evaluation = Inference.evaluate(
                run.model,
                run.adapter,
                run.validation,
                run.labels,
                run.config.training().batchSize());
        stopped();
        metrics.write("validation", steps, evaluation);
        listener.evaluated("validation", steps, evaluation);
    }

    private void save() throws IOException {
        Adapter adapter = run.adapter;
        AdapterStore.write(
                directory.path(),
                adapter,
                run.method,
                run.model.points(),
                run.config.model().path().toString(),
                TASK_TYPE);
        run.settings().write(directory.path());
        listener.saved(directory.path());
    }

    private RunResult end(RunResult.Status status, String message) throws IOException {
        // Tokens a second are those of the steps: evaluation and saving are no training.
        RunResult result = new RunResult(status, Instant.now(), steps, tokens, stepSeconds, message);
        directory.write(summary, result);
        Report.write(directory);
        listener.finished(result);
        return result;
    }

    private static double seconds(long since) {
        return (System.nanoTime() - since) / 1e9;
    }
}
