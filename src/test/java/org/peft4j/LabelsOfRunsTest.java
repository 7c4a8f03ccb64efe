package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.config.DataConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.Json;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.run.RunSummary;
import org.peft4j.run.TrainListener;

/**
 * Whole runs: row i of the trained head, which is what Hugging Face PEFT reads, is the class that the labels say. The words
 * of a text tell its class, so that a few steps are enough to see which output means what.
 */
class LabelsOfRunsTest {
    private static final List<String> WORDS =
            List.of("email", "list", "number", "spam", "mail", "url", "from", "the", "this", "will", "your", "just");

    @TempDir
    Path temporary;

    /** Rows for one epoch: a run saves behind each. */
    private Path rows(List<String> labels, int count) throws IOException {
        StringBuilder rows = new StringBuilder();
        for (int i = 0; i < count; i++) {
            int label = (i * 7) % labels.size(); // not in the order of the outputs
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("text", (WORDS.get(label) + " ").repeat(3));
            row.put("label", labels.get(label));
            rows.append(Json.write(row).replace("\n", "")).append('\n');
        }
        return Files.writeString(temporary.resolve("rows.jsonl"), rows);
    }

    private RunConfig config(
            Path rows, String output, int steps, @Nullable Path adapter, @Nullable MethodConfig method) {
        return RunConfig.builder()
                .model(ModelConfig.of(Fixtures.TINY_BERT).withDropout(ModelConfig.Dropout.OFF))
                .task(SequenceClassificationConfig.builder()
                        .maxLength(16)
                        .newHead(adapter == null)
                        .build())
                .data(new DataConfig(rows, null))
                .method(method)
                .adapter(adapter)
                .training(TrainingConfig.builder()
                        .epochs(1000)
                        .maxSteps(steps)
                        .batchSize(20)
                        .learningRate(adapter == null ? 2e-2 : 1e-6)
                        .build())
                .output(temporary.resolve(output))
                .build();
    }

    private RunSummary train(RunConfig config) throws IOException {
        List<RunSummary> seen = new ArrayList<>();
        Trainer.train(config, false, new TrainListener() {
            @Override
            public void started(RunSummary run) {
                seen.add(run);
            }
        });
        return seen.get(0);
    }

    private static LoraConfig lora() {
        return LoraConfig.builder().r(4).targets("query", "value").build();
    }

    @Test
    void wholeNumbersAreTheNumbersOfTheOutputs() throws IOException {
        List<String> labels = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            labels.add(i + ".0");
        }
        Path rows = rows(labels, 1200);

        RunSummary run = train(config(rows, "run", 60, null, lora()));

        assertThat(run.rows().labels().keySet())
                .containsExactly("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11");
        assertThat(run.rows().labels().values()).containsOnly(100L);
        assertThat(AdapterFiles.read(temporary.resolve("run"))
                        .tensors()
                        .get("base_model.model.classifier.weight")
                        .shape())
                .containsExactly(12L, 32L);
        Map<Integer, String> byOutput = new TreeMap<>();
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, temporary.resolve("run"))) {
            assertThat(classifier.evaluate(rows).accuracy()).isGreaterThan(0.8);
            for (String word : WORDS) {
                TextClassifier.Prediction prediction = classifier.predict((word + " ").repeat(3));
                int best = 0;
                for (int i = 0; i < 12; i++) {
                    best = prediction.logits().get(i) > prediction.logits().get(best) ? i : best;
                }
                byOutput.put(best, prediction.label());
            }
        }
        assertThat(byOutput).hasSizeGreaterThan(8);
        byOutput.forEach((output, label) -> assertThat(label).isEqualTo(String.valueOf(output)));
    }

    @Test
    void goingOnFromAnAdapterKeepsItsLabelsAndItsSettings() throws IOException {
        Path rows = rows(List.of("good", "bad"), 400);
        RunConfig first = RunConfig.builder()
                .model(ModelConfig.of(Fixtures.TINY_BERT).withDropout(ModelConfig.Dropout.OFF))
                .task(SequenceClassificationConfig.builder()
                        .labels("good", "bad") // not sorted
                        .maxLength(16)
                        .newHead(true)
                        .build())
                .data(new DataConfig(rows, null))
                .method(lora())
                .training(TrainingConfig.builder()
                        .epochs(1)
                        .batchSize(10)
                        .learningRate(2e-2)
                        .build())
                .output(temporary.resolve("first"))
                .build();
        train(first);

        RunSummary more = train(config(rows, "more", 1, temporary.resolve("first"), null));

        assertThat(more.rows().labels().keySet()).containsExactly("good", "bad");
        assertThat(((LoraConfig) more.config().method()).r()).isEqualTo(4);
        assertThat(Json.readObject(temporary.resolve("more/run.json")).get("settings"))
                .asString()
                .contains("r=4");
        for (String run : List.of("first", "more")) {
            try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, temporary.resolve(run))) {
                assertThat(classifier.evaluate(rows).accuracy()).as(run).isEqualTo(1);
            }
        }

        RunSummary usual = train(config(rows, "usual", 1, temporary.resolve("first"), LoraConfig.defaults()));
        assertThat(usual.notes()).anyMatch(note -> note.contains("the adapter has r: 4; method.r (8) does not apply"));
        assertThatThrownBy(() -> train(config(
                        rows,
                        "other",
                        1,
                        temporary.resolve("first"),
                        LoraConfig.builder().r(16).build())))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("method.r is 16", "r: 4");
        assertThat(temporary.resolve("other")).doesNotExist();
    }

    @Test
    void adapterOnAnotherBaseAndWarmupThatNeverEndsAreSaid() throws IOException {
        Path rows = rows(List.of("ham", "spam"), 10);
        RunConfig config = config(rows, "run", 2, null, lora());
        RunSummary run = train(RunConfig.builder()
                .model(config.model())
                .task(SequenceClassificationConfig.builder().maxLength(16).build())
                .data(config.data())
                .method(config.method())
                .training(TrainingConfig.builder().maxSteps(2).warmupSteps(100).build())
                .output(config.output())
                .build());
        assertThat(run.notes()).singleElement().asString().contains("warmup_steps 100 are more than the run's 1 steps");

        Path settings = temporary.resolve("run/peft4j.json");
        String text = Files.readString(settings);
        assertThat(text).containsPattern("\"base_sha256\": \"[0-9a-f]{64}\"");
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, temporary.resolve("run"))) {
            assertThat(classifier.notes()).isEmpty();
        }
        Files.writeString(settings, text.replaceFirst("sha256\": \"......", "sha256\": \"abcdef"));
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, temporary.resolve("run"))) {
            assertThat(classifier.notes()).singleElement().asString().contains("another base model");
        }
    }
}
