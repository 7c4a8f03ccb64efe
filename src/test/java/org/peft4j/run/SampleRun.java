package org.peft4j.run;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.metrics.ClassMetrics;
import org.peft4j.metrics.Evaluation;
import org.peft4j.run.RunResult.Status;
import org.peft4j.run.files.MetricsFile;
import org.peft4j.run.files.RunDirectory;

/** The files of a run that looks like a real one, without a model. */
public final class SampleRun {
    private SampleRun() {}

    static RunConfig config(Path output) {
        return RunConfig.builder()
                .model(Path.of("models/all-MiniLM-L6-v2"))
                .task(SequenceClassificationConfig.builder()
                        .labels("ham", "spam")
                        .build())
                .data(new DataConfig(Path.of("data/train.jsonl"), Path.of("data/validation.jsonl")))
                .method(LoraConfig.builder()
                        .r(8)
                        .alpha(16)
                        .targets("query", "value")
                        .modulesToSave(List.of("classifier"))
                        .build())
                .training(TrainingConfig.builder().epochs(2).build())
                .output(output)
                .build();
    }

    public static RunSummary summary(Path output) {
        return new RunSummary(
                config(output),
                new RunSummary.Rows(2000, 431, Map.of("ham", 1000L, "spam", 1000L), null),
                250,
                new RunSummary.Parameters(222_722, 22_936_066),
                new RunSummary.Environment(
                        Instant.parse("2026-03-04T10:20:30Z"),
                        "CPU, float32, AVX512-BF16",
                        Map.of("peft4j", "0.1.0", "pytorch", "2.13.0")),
                List.of("two labels have one <name>"));
    }

    public static RunResult result(Status status) {
        return new RunResult(
                status,
                Instant.parse("2026-03-04T10:24:10Z"),
                250,
                601_344,
                219.6,
                status == Status.FAILED ? "disk full" : null);
    }

    public static StepMetrics step(int step, SplittableRandom random) {
        double loss = 0.06 + 0.62 * Math.exp(-step / 40.0) + 0.06 * random.nextDouble() * Math.exp(-step / 200.0);
        double rate = 5e-4 * (251 - step) / 250;
        double speed = 2600 + 400 * random.nextDouble();
        return new StepMetrics(
                step,
                step / 125.0,
                loss,
                Map.of("lora", rate, "modules_to_save", rate),
                0.4 + random.nextDouble(),
                new StepMetrics.Speed(2400, speed, step * 0.87));
    }

    public static Evaluation evaluation(int wrong) {
        ClassMetrics metrics = new ClassMetrics(List.of("ham", "spam"));
        for (int i = 0; i < 400; i++) {
            int label = i < 284 ? 0 : 1;
            boolean right = i % (400 / wrong) != 3;
            metrics.add(label == 0 == right ? new float[] {2.5f, -1} : new float[] {-1, 1.7f}, label);
        }
        return metrics.evaluation(97);
    }

    public static RunDirectory write(Path output, Status status) throws IOException {
        RunDirectory directory = RunDirectory.create(output, true);
        SplittableRandom random = new SplittableRandom(7);
        try (MetricsFile file = MetricsFile.append(directory.metricsFile())) {
            for (int step = 1; step <= 250; step++) {
                file.write(step(step, random));
                if (step % 50 == 0) {
                    file.write("validation", step, evaluation(5 + 1600 / step));
                }
            }
            file.write("test", 250, evaluation(10));
        }
        directory.write(summary(output), result(status));
        return directory;
    }
}
