package org.peft4j.cli;

import java.io.Console;
import java.io.PrintStream;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
import org.peft4j.run.RunResult;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/**
 * Shows how training goes: on a terminal one line that is written over and over; elsewhere one plain line every
 * {@code logEvery} steps, so that a log stays readable.
 */
public final class ProgressBar implements TrainListener {
    private static final int WIDTH = 16;
    private static final int MOST_METRICS = 3;
    private static final long REDRAW_NANOS = 100_000_000;

    private final PrintStream out;
    private final boolean terminal;
    private final int logEvery;
    private final String full;
    private final String empty;
    private double speed; // tokens per second, smoothed
    private long drawn = System.nanoTime() - REDRAW_NANOS;
    private int lastLength;

    /** A bar of blocks. */
    public ProgressBar(PrintStream out, boolean terminal, int logEvery) {
        this(out, StandardCharsets.UTF_8, terminal, logEvery);
    }

    /** @param charset of {@code out}: where it has no blocks, the bar is made of other signs */
    ProgressBar(PrintStream out, Charset charset, boolean terminal, int logEvery) {
        this.out = out;
        boolean blocks = charset.newEncoder().canEncode("█░");
        full = blocks ? "█" : "#";
        empty = blocks ? "░" : ".";
        this.terminal = terminal;
        this.logEvery = logEvery;
    }

    /** Whether somebody looks at a terminal that can write over a line. */
    @SuppressWarnings("SystemConsoleNull") // newer Java is asked below
    public static boolean onTerminal() {
        Console console = System.console();
        return console != null && !"dumb".equals(System.getenv("TERM")) && isTerminal(console);
    }

    /** From Java 22 on there is a console without a terminal too, and a method to ask, which Java 17 lacks. */
    private static boolean isTerminal(Console console) {
        try {
            return (boolean) Console.class.getMethod("isTerminal").invoke(console);
        } catch (ReflectiveOperationException e) {
            return true;
        }
    }

    @Override
    public void step(StepMetrics step, long totalSteps) {
        speed = speed == 0
                ? step.speed().tokensPerSecond()
                : 0.9 * speed + 0.1 * step.speed().tokensPerSecond();
        boolean last = step.step() >= totalSteps;
        if (!terminal) {
            if (last || step.step() % logEvery == 0) {
                out.println("step " + numbers(step, totalSteps));
            }
            return;
        }
        long now = System.nanoTime();
        if (last || now - drawn >= REDRAW_NANOS) {
            drawn = now;
            int done = (int) (WIDTH * step.step() / Math.max(1, totalSteps));
            String bar = full.repeat(done) + empty.repeat(WIDTH - done);
            draw(String.format(Locale.ROOT, "%3d%% %s ", 100 * step.step() / Math.max(1, totalSteps), bar)
                    + numbers(step, totalSteps));
        }
    }

    @Override
    public void evaluated(String split, long step, Evaluation evaluation) {
        List<String> numbers = new ArrayList<>();
        evaluation.metrics().forEach((name, value) -> {
            if (numbers.size() < MOST_METRICS && !MetricNames.isOfType(name)) {
                numbers.add(MetricNames.title(name) + " " + MetricNames.text(name, value));
            }
        });
        numbers.add(String.format(Locale.ROOT, "loss %.4f", evaluation.loss()));
        List<String> counts = new ArrayList<>();
        counts.add(evaluation.examples() + " rows");
        evaluation.counts().forEach((name, count) -> {
            if (count > 0) {
                counts.add(count + " " + MetricNames.countTitle(name));
            }
        });
        line(String.format(
                Locale.ROOT,
                "%s after step %d: %s (%s)",
                split,
                step,
                String.join(", ", numbers),
                String.join(", ", counts)));
    }

    @Override
    public void finished(RunResult result) {
        line("");
    }

    private String numbers(StepMetrics step, long totalSteps) {
        double secondsLeft = (totalSteps - step.step()) * step.speed().elapsedSeconds() / Math.max(1, step.step());
        return String.format(
                Locale.ROOT,
                "%d/%d  loss %.4f  %.0f tokens/s  %s left",
                step.step(),
                totalSteps,
                step.loss(),
                speed,
                time(secondsLeft));
    }

    /** {@code 0:09}, {@code 12:34}, {@code 1:02:03}. */
    static String time(double seconds) {
        Duration d = Duration.ofSeconds(Math.round(seconds));
        return d.toHours() > 0
                ? String.format(Locale.ROOT, "%d:%02d:%02d", d.toHours(), d.toMinutesPart(), d.toSecondsPart())
                : String.format(Locale.ROOT, "%d:%02d", d.toMinutes(), d.toSecondsPart());
    }

    /** Ends the bar's line, if there is one, and prints a line of its own. */
    private void line(String text) {
        if (lastLength > 0) {
            out.println();
            lastLength = 0;
        }
        if (!text.isEmpty()) {
            out.println(text);
        }
    }

    private void draw(String text) {
        out.print("\r" + text + " ".repeat(Math.max(0, lastLength - text.length())));
        out.flush();
        lastLength = text.length();
    }
}
