package org.peft4j.cli;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.method.PeftType;
import org.peft4j.metrics.Evaluation;
import org.peft4j.report.Report;
import org.peft4j.run.RunResult;
import org.peft4j.run.RunSummary;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/** What {@code peft4j train} prints: what is about to happen, how it goes, what came out and what to try next. */
final class TrainOutput implements TrainListener {
    private static final int MOST_LABELS = 100;

    private final PrintStream out;
    private RunConfig config;
    private final ProgressBar bar;
    private final TrainListener stop;
    private @Nullable Evaluation last;

    /** @param stop hears of everything, too */
    TrainOutput(PrintStream out, ProgressBar bar, RunConfig config, TrainListener stop) {
        this.out = out;
        this.config = config;
        this.stop = stop;
        this.bar = bar;
    }

    @Override
    public void started(RunSummary run) {
        stop.started(run);
        config = run.config();
        run.notes().forEach(note -> print("note: %s", note));
        print("labels, and how many texts have each");
        long shown = 0;
        for (Map.Entry<String, Long> label : run.labels().entrySet()) {
            if (shown++ == MOST_LABELS) {
                print("  … and %,d more", run.labels().size() - MOST_LABELS);
                break;
            }
            print("  %,9d  '%s'", label.getValue(), label.getKey());
        }
        print("%,d texts, %,d steps of %,d texts; %s", run.trainExamples(), run.totalSteps(), stepSize(), cut(run));
        print(
                "%,d of %,d parameters are trained (%.2f %%)",
                run.trainableParameters(),
                run.modelParameters(),
                100.0 * run.trainableParameters() / Math.max(1, run.modelParameters()));
        print("%s", run.compute());
        print("");
    }

    private long stepSize() {
        return (long) config.training().batchSize() * config.training().gradientAccumulation();
    }

    private String cut(RunSummary run) {
        return run.trainCut() == 0
                ? "none is longer than " + config.task().maxLength() + " tokens"
                : String.format(
                        Locale.ROOT,
                        "%,d are cut to %d tokens (task.max_length)",
                        run.trainCut(),
                        config.task().maxLength());
    }

    @Override
    public void step(StepMetrics metrics, long totalSteps) {
        bar.step(metrics, totalSteps);
        stop.step(metrics, totalSteps);
    }

    @Override
    public void evaluated(String split, long step, Evaluation evaluation) {
        last = evaluation;
        bar.evaluated(split, step, evaluation);
        stop.evaluated(split, step, evaluation);
    }

    @Override
    public void saved(Path directory) {
        stop.saved(directory);
    }

    @Override
    public void finished(RunResult result) {
        bar.finished(result);
        stop.finished(result);
        if (result.status() == RunResult.Status.FAILED) {
            return; // the error is told elsewhere
        }
        boolean whole = result.status() == RunResult.Status.FINISHED;
        Path output = config.output();
        print("");
        print(
                "%s %,d steps, %,d tokens, in %s: %,.0f tokens/s",
                whole ? "trained" : "interrupted after",
                result.steps(),
                result.tokens(),
                ProgressBar.time(result.seconds()),
                result.tokensPerSecond());
        if (last != null) {
            print("accuracy  %.4f on validation (%,d texts)", last.accuracy(), last.examples());
        }
        print("adapter   %s", output);
        print("report    %s", result.message() == null ? output.resolve(Report.FILE) : result.message());
        if (whole) {
            next();
        }
    }

    private void next() {
        String model = Shell.quote(config.model().path());
        String adapter = Shell.quote(config.output());
        DataConfig files = Objects.requireNonNull(config.data()); // a run file has them
        Path data = files.validation() == null ? files.train() : files.validation();
        print("");
        print("next");
        print("  peft4j evaluate --model %s --adapter %s --data %s", model, adapter, Shell.quote(data));
        print(
                "  peft4j predict --model %s --adapter %s --data %s --out predictions.jsonl",
                model, adapter, Shell.quote(data));
        if (config.method() != null && config.method().peftType() == PeftType.LORA) {
            print("  peft4j merge --model %s --adapter %s --out %s-merged", model, adapter, adapter);
        }
        if (config.adapter() == null
                && config.method() != null
                && config.method().peftType() == PeftType.LORA) {
            print("  more capacity: --set method.r=16 --set method.alpha=32 --set output=%s-r16", adapter);
        }
        print(
                "  more training: --set training.epochs=%d --set output=%s-longer",
                2 * config.training().epochs(), adapter);
    }

    private void print(String format, Object... values) {
        out.println(String.format(Locale.ROOT, format, values));
    }
}
