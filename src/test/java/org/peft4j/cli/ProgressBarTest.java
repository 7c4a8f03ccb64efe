package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.peft4j.metrics.ClassMetrics;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
import org.peft4j.metrics.RegressionMetrics;
import org.peft4j.run.RunResult;
import org.peft4j.run.StepMetrics;

class ProgressBarTest {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8);

    @Test
    void elsewhereThereIsOnePlainLineALogStepAndOneForTheLastStep() {
        ProgressBar bar = new ProgressBar(out, false, 10);
        for (int step = 1; step <= 25; step++) {
            bar.step(step(step), 25);
        }

        assertThat(text().lines()).hasSize(3);
        assertThat(text()).doesNotContain("\r").startsWith("step 10/25  loss 0.5000  1000 tokens/s  0:15 left");
        assertThat(text().lines().toList().get(2)).startsWith("step 25/25").endsWith("0:00 left");
    }

    @Test
    void onATerminalOneLineIsWrittenOverAndOver() {
        ProgressBar bar = new ProgressBar(out, true, 10);
        bar.step(step(50), 100);
        bar.step(step(51), 100); // too soon to draw again
        bar.step(step(100), 100);

        assertThat(text()).doesNotContain("\n");
        assertThat(text().split("\r", -1)).hasSize(3);
        assertThat(text()).contains("\r 50% " + "█".repeat(8) + "░".repeat(8) + " 50/100  loss 0.5000");
        assertThat(text()).contains("\r100% " + "█".repeat(16) + " 100/100");
    }

    @Test
    void terminalWithoutBlocksGetsOtherSigns() {
        new ProgressBar(out, StandardCharsets.US_ASCII, true, 10).step(step(50), 100);

        assertThat(text()).contains("\r 50% " + "#".repeat(8) + ".".repeat(8) + " 50/100");
    }

    @Test
    void barFitsInEightyColumnsAndLeavesNothingOfALongerOne() {
        ProgressBar bar = new ProgressBar(out, true, 10);
        bar.step(new StepMetrics(1, 0, 12345.5, Map.of(), 1, new StepMetrics.Speed(1, 99_999, 4000)), 9_000);
        bar.step(new StepMetrics(9_000, 1, 0.5, Map.of(), 1, new StepMetrics.Speed(1, 10, 9_000)), 9_000);

        String[] drawn = text().split("\r", -1);
        assertThat(drawn[1].length()).isLessThanOrEqualTo(80);
        assertThat(drawn[2].length()).isGreaterThanOrEqualTo(drawn[1].length());
    }

    @Test
    void evaluationStandsOnALineOfItsOwn() {
        ProgressBar bar = new ProgressBar(out, true, 10);
        bar.step(step(100), 100);
        ClassMetrics metrics = new ClassMetrics(List.of("a", "b"));
        metrics.add(new float[] {1, 0}, 0);
        bar.evaluated("validation", 100, metrics.evaluation(1));
        bar.finished(new RunResult(RunResult.Status.FINISHED, Instant.EPOCH, 100, 1, 1, null));

        assertThat(text().lines().toList())
                .contains("validation after step 100: accuracy 1.0000, macro F1 0.5000, loss 0.3133 (1 rows, 1 cut)");
        assertThat(text()).endsWith(System.lineSeparator());
    }

    @Test
    void anEvaluationHasTheTasksOwnMetrics() {
        Map<String, Double> tags = new LinkedHashMap<>();
        tags.put(MetricNames.ENTITY_F1, 0.8125);
        tags.put(MetricNames.ENTITY_PRECISION, 0.75);
        tags.put(MetricNames.ENTITY_F1 + ".PER", 0.9);
        tags.put(MetricNames.ENTITY_RECALL, 0.875);
        tags.put(MetricNames.ACCURACY, 0.95);
        Map<String, Long> counts = new LinkedHashMap<>();
        counts.put(Evaluation.CUT, 0L);
        counts.put("malformed_bio_rows", 3L);
        RegressionMetrics numbers = new RegressionMetrics();
        numbers.add(1, 1.5);
        numbers.add(2, 2.5);

        assertThat(evaluated(new Evaluation(40, 0.25, tags, counts, List.of(), List.of())))
                .isEqualTo("validation after step 7: entity F1 0.8125, entity precision 0.7500, entity recall 0.8750,"
                        + " loss 0.2500 (40 rows, 3 malformed BIO rows)");
        assertThat(evaluated(numbers.evaluation(0)))
                .isEqualTo("validation after step 7: Pearson 1.0000, mean squared error 0.2500, mean absolute error"
                        + " 0.5000, loss 0.2500 (2 rows)");
        assertThat(evaluated(new Evaluation(
                        9,
                        2.8213,
                        Map.of(MetricNames.PERPLEXITY, Math.exp(2.8213)),
                        Map.of("tokens", 123L),
                        List.of(),
                        List.of())))
                .isEqualTo("validation after step 7: perplexity 16.80, loss 2.8213 (9 rows, 123 tokens)");
    }

    private String evaluated(Evaluation evaluation) {
        bytes.reset();
        new ProgressBar(out, false, 10).evaluated("validation", 7, evaluation);
        return text().strip();
    }

    @Test
    void timesAreReadable() {
        assertThat(ProgressBar.time(9.4)).isEqualTo("0:09");
        assertThat(ProgressBar.time(754)).isEqualTo("12:34");
        assertThat(ProgressBar.time(3723)).isEqualTo("1:02:03");
    }

    private static StepMetrics step(int step) {
        return new StepMetrics(step, 0, 0.5, Map.of("lora", 1e-3), 1, new StepMetrics.Speed(100, 1000, step));
    }

    private String text() {
        return bytes.toString(StandardCharsets.UTF_8);
    }
}
