package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
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
import org.peft4j.Trainer;
import org.peft4j.config.ModelConfig;
import org.peft4j.io.AdapterFiles;
import org.peft4j.run.RunConfigFile;

/** Runs with bottleneck adapters, as run files say them. */
class BottleneckRunTest {
    private static BaseModel bert;

    @TempDir
    Path directory;

    @BeforeAll
    static void open() throws IOException {
        bert = BaseModel.open(ModelConfig.of(Fixtures.TINY_BERT));
    }

    @AfterAll
    static void close() {
        bert.close();
    }

    private static Stream<Map<String, Object>> rows() {
        return IntStream.range(0, 12)
                .mapToObj(i -> Map.of("text", (i % 2 == 0 ? "list number " : "spam url ") + i, "label", i % 2));
    }

    private Path train(String name, String... settings) throws IOException {
        Path output = directory.resolve(name);
        Map<String, Object> run = Map.of(
                "model", Fixtures.TINY_BERT,
                "data", Map.of("train", "not read"),
                "task", Map.of("labels", List.of("0", "1"), "max_length", 40),
                "training", Map.of("batch_size", 4, "max_steps", 6, "optimizer", Map.of("learning_rate", 1e-2)),
                "output", output,
                "method", Map.of("type", "bottleneck", "reduction_factor", 4));
        Trainer.of(RunConfigFile.of(run, "a test", List.of(settings)))
                .on(bert)
                .rows(rows())
                .train();
        return output;
    }

    @ParameterizedTest
    @ValueSource(strings = {"double_seq_bn", "scaled_par_bn", "compacter++", "mam", "unipelt"})
    void aNamedConfigurationTrainsAndAnswers(String config) throws IOException {
        Path output = List.of("mam", "unipelt").contains(config)
                ? train(config, "method.config=" + config, "method.prefix={virtual_tokens: 4, encoder_hidden_size: 8}")
                : train(config, "method.config=" + config);
        try (LoadedAdapter adapter = bert.load("it", output);
                TextClassifier classifier = TextClassifier.of(adapter)) {
            assertThat(classifier.predict("spam url 4").probabilities()).hasSize(2);
        }
        Path again = train("again", "method=null", "adapter=" + output);
        assertThat(AdapterFiles.read(again).config().get("scaling"))
                .as("a run that goes on keeps the settings")
                .isEqualTo(AdapterFiles.read(output).config().get("scaling"));
    }

    /** The coefficients of a rational activation have a learning rate of their own. */
    @Test
    void coefficientsAreTrainedByTheirOwnRate() throws IOException {
        Path still = train(
                "still",
                "method.activation=rational",
                "method.rational_init=swish",
                "training.groups.activation.learning_rate=0");
        Path moved = train("moved", "method.activation=rational", "method.rational_init=swish");
        List<Float> first = coefficients(still).values().iterator().next();
        assertThat(coefficients(still))
                .hasSize(3)
                .allSatisfy((name, values) -> assertThat(values).isEqualTo(first));
        assertThat(coefficients(moved)).isNotEqualTo(coefficients(still));
    }

    private static Map<String, List<Float>> coefficients(Path output) throws IOException {
        Map<String, List<Float>> found = new LinkedHashMap<>();
        AdapterFiles.read(output).tensors().forEach((name, data) -> {
            if (name.endsWith("adapter_act.numerator")) {
                float[] values = data.toFloats();
                found.put(
                        name,
                        IntStream.range(0, values.length)
                                .mapToObj(i -> values[i])
                                .toList());
            }
        });
        return found;
    }
}
