package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.BaseModel;
import org.peft4j.Fixtures;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextClassifier;
import org.peft4j.TextGenerator;
import org.peft4j.Trainer;
import org.peft4j.config.ModelConfig;
import org.peft4j.error.TrainingException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;

/** Runs with ReFT, as run files say them. */
class ReftRunTest {
    private static BaseModel bert;
    private static BaseModel llama;

    @TempDir
    Path directory;

    @BeforeAll
    static void open() throws IOException {
        bert = BaseModel.open(ModelConfig.of(Fixtures.TINY_BERT));
        llama = BaseModel.open(ModelConfig.of(Fixtures.TINY_LLAMA));
    }

    @AfterAll
    static void close() {
        bert.close();
        llama.close();
    }

    private static Stream<Map<String, Object>> texts() {
        return IntStream.range(0, 12)
                .mapToObj(i -> Map.of("text", (i % 2 == 0 ? "list number " : "spam url ") + i, "label", i % 2));
    }

    private static Stream<Map<String, Object>> answers() {
        return IntStream.range(0, 12)
                .mapToObj(i -> Map.of(
                        "prompt", "mail list url number " + i, "response", i % 2 == 0 ? " spam url" : " number"));
    }

    /** @return the losses */
    private List<Double> train(BaseModel model, String name, String... settings) throws IOException {
        boolean classes = model == bert;
        Map<String, Object> run = new LinkedHashMap<>();
        run.put("model", classes ? Fixtures.TINY_BERT : Fixtures.TINY_LLAMA);
        run.put("data", Map.of("train", "not read"));
        run.put(
                "task",
                classes
                        ? Map.of("labels", List.of("0", "1"), "max_length", 40)
                        : Map.of("type", "causal-lm", "max_length", 30));
        run.put("training", Map.of("batch_size", 4, "epochs", 8, "optimizer", Map.of("learning_rate", 2e-2)));
        run.put("output", directory.resolve(name));
        run.put("method", Map.of("type", "reft", "r", 2));
        List<Double> losses = new ArrayList<>();
        Trainer.of(RunConfigFile.of(run, "a test", List.of(settings)))
                .on(model)
                .rows(classes ? texts() : answers())
                .listener(new TrainListener() {
                    @Override
                    public void step(StepMetrics step, long total) {
                        losses.add(step.loss());
                    }
                })
                .train();
        return losses;
    }

    private static double first(List<Double> losses) {
        return losses.stream().limit(3).mapToDouble(Double::doubleValue).sum();
    }

    private static double last(List<Double> losses) {
        return losses.stream()
                .skip(losses.size() - 3)
                .mapToDouble(Double::doubleValue)
                .sum();
    }

    @ParameterizedTest
    @ValueSource(strings = {"loreft", "noreft", "direft"})
    void aNamedConfigurationLearnsToClassify(String config) throws IOException {
        List<Double> losses = train(bert, config, "method.config=" + config, "training.optimizer.weight_decay=0.1");
        assertThat(last(losses)).isLessThan(first(losses));
        Path output = directory.resolve(config);
        try (LoadedAdapter adapter = bert.load("it", output);
                TextClassifier classifier = TextClassifier.of(adapter)) {
            assertThat(classifier.predict("spam url 4").probabilities()).hasSize(2);
        }
        train(bert, "again", "method=null", "adapter=" + output, "training.max_steps=2");
        Map<String, Object> again =
                AdapterFiles.read(directory.resolve("again")).config();
        assertThat(again.get("orthogonality")).isEqualTo(config.equals("loreft"));
        assertThat(again.get("r")).isEqualTo(2);
    }

    /** Of the prompt first and last tokens are edited, of the response none, and none that is generated. */
    @Test
    void aLanguageModelLearnsResponses() throws IOException {
        List<Double> losses = train(llama, "answers", "method.suffix_positions=2", "training.checkpointing=block");
        assertThat(last(losses)).isLessThan(0.97 * first(losses));
        try (LoadedAdapter adapter = llama.load("it", directory.resolve("answers"));
                TextGenerator generator = TextGenerator.of(adapter)) {
            TextGenerator.Options options = TextGenerator.Options.defaults().withMaxNewTokens(4);
            assertThat(generator.generate(List.of("mail list url number 3"), options))
                    .hasSize(1);
        }
    }

    /** Nobody reads the first rows behind the last layer: nothing would be learnt. */
    @ParameterizedTest
    @ValueSource(strings = {"none", "block"})
    void editsThatNobodyReadsAreAnError(String checkpointing) {
        assertThatThrownBy(() -> train(
                        llama,
                        "nothing",
                        "method.layers=[1]",
                        "method.prefix_positions=2",
                        "training.checkpointing=" + checkpointing))
                .isInstanceOf(TrainingException.class)
                .hasMessageContaining("nothing that the adapter trains has a part in the loss");
    }
}
