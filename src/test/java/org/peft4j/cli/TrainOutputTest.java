package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
import org.peft4j.run.RunResult;
import org.peft4j.run.TrainListener;

/** The last lines of a run. */
class TrainOutputTest {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8);

    @Test
    void theLastLinesTellTheTasksMetricAndTheBestStep() {
        assertThat(ended(CausalLmConfig.defaults(), MetricNames.PERPLEXITY, 134.25, 16.5, 16.75))
                .contains("\nperplexity 16.75 on validation (71 rows); 16.50 after step 20\n")
                .contains("\n  peft4j generate --model models/m --adapter runs/r --prompt ")
                .doesNotContain("accuracy");
        assertThat(ended(SequenceClassificationConfig.defaults(), MetricNames.ACCURACY, 0.5, 0.75, 0.875))
                .contains("\naccuracy  0.8750 on validation (71 rows)\n")
                .contains("\n  peft4j predict ")
                .contains("\n  more capacity: --set method.r=16 --set method.alpha=32 --set output=runs/r-r16\n");
        assertThat(ended(EmbeddingConfig.builder().build(), MetricNames.ACCURACY, 0.5, 0.75, 0.625))
                .contains("\naccuracy  0.6250 on validation (71 rows); 0.7500 after step 20\n")
                .contains("\n  peft4j embed ")
                .doesNotContain("peft4j predict");
    }

    private String ended(TaskConfig task, String metric, double... values) {
        bytes.reset();
        RunConfig config = RunConfig.builder()
                .model(Path.of("models/m"))
                .task(task)
                .data(new DataConfig(Path.of("train.jsonl"), Path.of("validation.jsonl")))
                .method(LoraConfig.builder().r(8).alpha(16).build())
                .output(Path.of("runs/r"))
                .build();
        TrainOutput output = new TrainOutput(out, new ProgressBar(out, false, 10), config, new TrainListener() {});
        for (int i = 0; i < values.length; i++) {
            output.evaluated(
                    "validation",
                    10 * (i + 1),
                    new Evaluation(71, 1, Map.of(metric, values[i]), Map.of(), List.of(), List.of()));
        }
        output.finished(new RunResult(RunResult.Status.FINISHED, Instant.EPOCH, 30, 1000, 10, null));
        return bytes.toString(StandardCharsets.UTF_8);
    }
}
