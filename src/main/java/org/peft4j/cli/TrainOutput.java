package org.peft4j.cli;

import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TaskId;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.Methods;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
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
    private @Nullable Evaluation best;
    private long bestStep;
    private boolean talks;

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
        long shown = 0;
        if (!run.rows().labels().isEmpty()) {
            print("labels, and how often each occurs");
        }
        for (Map.Entry<String, Long> label : run.rows().labels().entrySet()) {
            if (shown++ == MOST_LABELS) {
                print("  … and %,d more", run.rows().labels().size() - MOST_LABELS);
                break;
            }
            print("  %,9d  '%s'", label.getValue(), label.getKey());
        }
        texts(run.rows());
        print("%,d rows, %,d steps of %s; %s", run.rows().examples(), run.totalSteps(), stepSize(), cut(run));
        print(
                "%,d of %,d parameters are trained (%.2f %%)",
                run.parameters().trained(),
                run.parameters().model(),
                100.0
                        * run.parameters().trained()
                        / Math.max(1, run.parameters().model()));
        print("%s", run.environment().compute());
        print("");
    }

    /** How rows of a language model became texts, and these packs. */
    private void texts(RunSummary.Rows rows) {
        RunSummary.Texts texts = rows.texts();
        if (texts == null) {
            return;
        }
        print(
                "rows by form: %s",
                texts.forms().entrySet().stream()
                        .map(form -> String.format(Locale.ROOT, "%,d %s", form.getValue(), form.getKey()))
                        .collect(Collectors.joining(", ")));
        talks = texts.forms().containsKey("messages") || texts.forms().containsKey("conversations");
        if (texts.template() != null) {
            print("chat template: %s", texts.template());
        }
        if (texts.full() != null) {
            print(
                    "packed into %,d rows of at most %,d tokens, which are %.1f %% full",
                    rows.examples(), config.task().maxLength(), 100 * texts.full());
        }
    }

    private String stepSize() {
        int accumulation = config.training().gradientAccumulation();
        return config.training().batchTokens() > 0
                ? String.format(
                        Locale.ROOT,
                        "at most %,d tokens",
                        (long) config.training().batchTokens() * accumulation)
                : String.format(
                        Locale.ROOT, "%,d rows", (long) config.training().batchSize() * accumulation);
    }

    private String cut(RunSummary run) {
        return run.rows().cut() == 0
                ? "none is longer than " + config.task().maxLength() + " tokens"
                : String.format(
                        Locale.ROOT,
                        "%,d are cut to %d tokens (task.max_length)",
                        run.rows().cut(),
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
        if (best == null || isBetter(evaluation, best)) {
            best = evaluation;
            bestStep = step;
        }
        bar.evaluated(split, step, evaluation);
        stop.evaluated(split, step, evaluation);
    }

    private static boolean isBetter(Evaluation evaluation, Evaluation than) {
        String name = evaluation.mainMetric();
        if (!name.equals(than.mainMetric())) {
            return true; // outputs that do not vary have no correlation
        }
        return MetricNames.isBetter(name, evaluation.metric(name), than.metric(name));
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
        if (last != null && best != null) {
            String name = last.mainMetric();
            print(
                    "%-9s %s on validation (%,d rows)%s",
                    MetricNames.title(name),
                    MetricNames.text(name, last.metric(name)),
                    last.examples(),
                    isBetter(best, last)
                            ? "; " + MetricNames.text(name, best.metric(name)) + " after step " + bestStep
                            : "");
        }
        print("adapter   %s", output);
        print(
                "report    %s",
                Files.isRegularFile(output.resolve(Report.FILE)) ? output.resolve(Report.FILE) : result.message());
        if (whole && result.message() != null && Files.isRegularFile(output.resolve(Report.FILE))) {
            print("note      %s", result.message());
        }
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
        switch (config.task().type()) {
            case EmbeddingConfig.TYPE ->
                print(
                        "  peft4j embed --model %s --adapter %s --data %s --out embedded.jsonl",
                        model, adapter, Shell.quote(data));
            case CausalLmConfig.TYPE ->
                print(
                        talks
                                ? "  peft4j chat --model %s --adapter %s%s"
                                : "  peft4j generate --model %s --adapter %s%s --prompt 'How a text begins'",
                        model,
                        adapter,
                        ofTask());
            default ->
                print(
                        "  peft4j predict --model %s --adapter %s --data %s --out predictions.jsonl",
                        model, adapter, Shell.quote(data));
        }
        if (config.method() != null && Methods.mergeRefusal(config.method()).isEmpty()) {
            print("  peft4j merge --model %s --adapter %s --out %s-merged", model, adapter, adapter);
        }
        if (config.adapter() == null && config.method() instanceof LoraConfig lora) {
            print(
                    "  more capacity: --set method.r=%d --set method.alpha=%s --set output=%s-r%d",
                    2 * lora.r(),
                    BigDecimal.valueOf(2 * lora.alpha()).stripTrailingZeros().toPlainString(),
                    adapter,
                    2 * lora.r());
        }
        print(
                "  more training: --set training.epochs=%d --set output=%s-longer",
                2 * config.training().epochs(), adapter);
    }

    private void print(String format, Object... values) {
        out.println(String.format(Locale.ROOT, format, values));
    }

    /** Of which task a text is that comes from no row: one of those that rows say by a column. */
    private String ofTask() {
        TaskId said = config.task().taskId();
        return said != null && said.column() != null ? " --task-id 0" : "";
    }
}
