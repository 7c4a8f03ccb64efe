package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.config.DataConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/** From the same start, without dropout and in file order, the losses are Hugging Face PEFT's. */
class LossParityTest {
    private static final Path TINY = Fixtures.ROOT.resolve("loss-parity/tiny");

    @TempDir
    Path directory;

    private List<Double> train(Path model, Path rows, Path losses, Path start, MethodConfig method) throws Exception {
        JsonNode settings = new ObjectMapper().readTree(losses.toFile()).get("settings");
        RunConfig config = RunConfig.builder()
                .model(ModelConfig.of(model).withDropout(ModelConfig.Dropout.OFF))
                .task(SequenceClassificationConfig.builder()
                        .labels("ham", "spam")
                        .maxLength(settings.get("max_length").asInt())
                        .build())
                .data(new DataConfig(rows, null))
                .method(method)
                .adapter(start)
                .training(TrainingConfig.builder()
                        .batchSize(settings.get("batch").asInt())
                        .gradientAccumulation(
                                settings.get("gradient_accumulation").asInt())
                        .learningRate(settings.get("learning_rate").asDouble())
                        .warmupSteps(settings.get("warmup_steps").asLong())
                        .weightDecay(settings.get("weight_decay").asDouble())
                        .maxGradNorm(settings.get("clip_norm").asDouble())
                        .shuffle(false)
                        .build())
                .output(directory.resolve("run"))
                .build();
        List<Double> seen = new ArrayList<>();
        Trainer.train(config, false, new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                seen.add(metrics.loss());
            }
        });
        return seen;
    }

    private void check(String losses, String start, MethodConfig method) throws Exception {
        check(Fixtures.TINY_BERT, TINY.resolve("rows.jsonl"), TINY.resolve(losses), TINY.resolve(start), method);
    }

    private void check(Path model, Path rows, Path losses, Path start, MethodConfig method) throws Exception {
        List<Double> seen = train(model, rows, losses, start, method);
        JsonNode expected = new ObjectMapper().readTree(losses.toFile()).get("losses");
        assertThat(seen).hasSize(expected.size());
        for (int i = 0; i < seen.size(); i++) {
            assertThat(seen.get(i))
                    .as("loss of step " + (i + 1))
                    .isCloseTo(expected.get(i).asDouble(), Percentage.withPercentage(0.01));
        }
    }

    @Test
    void loraFollowsPeft() throws Exception {
        check("losses.json", "start-adapter", LoraConfig.defaults());
        Map<String, TensorData> theirs =
                AdapterFiles.read(TINY.resolve("end-adapter")).tensors();
        AdapterFiles.read(directory.resolve("run")).tensors().forEach((name, ours) -> {
            float[] a = ours.toFloats();
            float[] b = theirs.get(name).toFloats();
            for (int i = 0; i < a.length; i++) {
                assertThat(a[i]).as(name + "[" + i + "]").isCloseTo(b[i], within(2e-4f));
            }
        });
    }

    @Test
    void gradientAccumulationFollowsPeft() throws Exception {
        check("losses-accumulation.json", "start-adapter", LoraConfig.defaults());
    }

    @Test
    void prefixTuningFollowsPeft() throws Exception {
        check("losses-prefix.json", "start-prefix", PrefixConfig.defaults());
    }

    @Test
    void loraOnMiniLmAndRealMailsFollowsPeft() throws Exception {
        Path fixture = Fixtures.ROOT.resolve("loss-parity/minilm");
        Path rows = directory.resolve("rows.jsonl");
        Files.write(
                rows,
                Files.readAllLines(Path.of("src/examples/data/spamassassin/train.jsonl"))
                        .subList(0, 320));
        check(
                TestModels.miniLm(),
                rows,
                fixture.resolve("losses.json"),
                fixture.resolve("start-adapter"),
                LoraConfig.defaults());
    }
}
