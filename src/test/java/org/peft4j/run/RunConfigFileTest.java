package org.peft4j.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.config.DataConfig;
import org.peft4j.config.GroupOverride;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.Schedule;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.config.TrainingConfig.Dtype;
import org.peft4j.error.ConfigException;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prefix.InitPrefix;
import org.peft4j.method.prefix.PrefixConfig;

class RunConfigFileTest {
    private static final String SPAM = """
            # train a spam filter
            model: models/all-MiniLM-L6-v2
            task: sequence-classification
            labels: [ham, spam]
            data: {train: d/train.jsonl, validation: d/validation.jsonl, text: text, label: label, max_length: 256}
            method: {type: lora, r: 8, alpha: 16, dropout: 0.0, targets: [query, value]}
            adapter: null
            training: {epochs: 1, batch_size: 16, learning_rate: 5e-4, schedule: linear, warmup_steps: 0, weight_decay: 0.01,
                       max_grad_norm: 1.0, gradient_accumulation: 1, seed: 0, shuffle: true, dtype: float32, log_every: 10,
                       groups: {}}
            output: runs/spam-lora
            """;

    private static final String SHORT = """
            model: m
            data: {train: t.csv}
            method: {type: lora}
            output: o
            """;

    @TempDir
    Path temporary;

    @Test
    void fileOfTheDocumentationIsTheSameAsTheBuilder() throws IOException {
        assertThat(read(SPAM))
                .isEqualTo(RunConfig.builder()
                        .model(Path.of("models/all-MiniLM-L6-v2"))
                        .labels("ham", "spam")
                        .data(DataConfig.of(Path.of("d/train.jsonl"), Path.of("d/validation.jsonl")))
                        .method(LoraConfig.builder()
                                .r(8)
                                .alpha(16)
                                .targets("query", "value")
                                .build())
                        .output(Path.of("runs/spam-lora"))
                        .build());
    }

    @Test
    void keysThatAreLeftOutHaveTheDefaultsOfTheApi() throws IOException {
        assertThat(read(SHORT))
                .isEqualTo(RunConfig.builder()
                        .model(ModelConfig.of(Path.of("m")))
                        .data(DataConfig.of(Path.of("t.csv"), null))
                        .method(LoraConfig.defaults())
                        .output(Path.of("o"))
                        .build());
    }

    @Test
    void everySettingIsRead() throws IOException {
        RunConfig config = read("""
                model: {path: m, dropout: 0}
                data: {train: t, text: body, label: class, max_length: 9}
                method: {type: lora, r: 2, rslora: true, bias: lora_only, targets: '.*query', exclude_modules: [x],
                         rank_pattern: {'b.*': 1, a: 2}, alpha_pattern: {c: 3}, modules_to_save: [head], init: gaussian}
                adapter: a
                training: {max_steps: 7, schedule: cosine, dtype: bfloat16, save_every: 5, shuffle: false,
                           groups: {lora: {learning_rate: 1e-3}, head: {weight_decay: 0, learning_rate: null}}}
                output: o
                """);

        assertThat(config.model().dropout()).isEqualTo(ModelConfig.Dropout.OFF);
        assertThat(config.data()).isEqualTo(new DataConfig(Path.of("t"), null, "body", "class", 9));
        LoraConfig lora = (LoraConfig) config.method();
        assertThat(lora.bias()).isEqualTo(Bias.LORA_ONLY);
        assertThat(lora.init()).isEqualTo(InitLora.GAUSSIAN);
        assertThat(lora.targets()).isEqualTo(Targets.regex(".*query"));
        assertThat(lora.rankPattern().keySet()).as("in the order of the file").containsExactly("b.*", "a");
        assertThat(lora.alphaPattern()).isEqualTo(Map.of("c", 3.0));
        assertThat(config.adapter()).isEqualTo(Path.of("a"));
        assertThat(config.training().maxSteps()).isEqualTo(7);
        assertThat(config.training().schedule()).isEqualTo(Schedule.COSINE);
        assertThat(config.training().dtype()).isEqualTo(Dtype.BFLOAT16);
        assertThat(config.training().groups())
                .isEqualTo(Map.of("lora", new GroupOverride(1e-3, null), "head", new GroupOverride(null, 0.0)));
    }

    @Test
    void mapOfARunGivesTheSameRunAgain() throws IOException {
        for (String yaml : List.of(
                SPAM,
                SHORT,
                SPAM.replace(
                        "lora, r: 8, alpha: 16, dropout: 0.0, targets: [query, value]", "prefix-tuning, init: zero"),
                SHORT.replace("model: m", "model: {path: m, dropout: 0}")
                        .replace("lora", "lora, targets: all-linear"))) {
            RunConfig config = read(yaml);
            String json = new ObjectMapper().writeValueAsString(RunConfigFile.toMap(config));
            assertThat(read(json)).as("JSON is YAML").isEqualTo(config);
        }
    }

    @Test
    void optionsReachIntoTheShortFormOfTheModel() throws IOException {
        assertThat(read(SHORT, "model.dropout=0").model())
                .isEqualTo(new ModelConfig(Path.of("m"), ModelConfig.Dropout.OFF));
        assertThat(read(SHORT.replace("model: m", "model: {path: m, dropout: 0}"), "model=n")
                        .model())
                .isEqualTo(new ModelConfig(Path.of("n"), ModelConfig.Dropout.OFF));
    }

    @Test
    void optionForAnotherMethodDropsTheSettingsOfTheFormerOne() throws IOException {
        RunConfig config = read(SPAM, "method.type=prefix-tuning", "method.virtual_tokens=5");
        assertThat(config.method()).isEqualTo(PrefixConfig.of(5));
        assertThat(read(SPAM, "method.r=4").method())
                .isEqualTo(LoraConfig.builder()
                        .r(4)
                        .alpha(16)
                        .targets("query", "value")
                        .build());
    }

    @Test
    void prefixTuningIsRead() throws IOException {
        RunConfig config = read(SHORT.replace(
                "{type: lora}",
                "{type: prefix-tuning, virtual_tokens: 3, projection: true, encoder_hidden_size: 64, init: zero}"));
        assertThat(config.method()).isEqualTo(new PrefixConfig(3, true, 64, InitPrefix.ZERO, List.of()));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            value = {
                "training.learning_rat=1 | unknown key 'learning_rat' in training",
                "task=causal-lm | expected one of sequence-classification for 'type' in task (--set task=causal-lm)",
                "task.new_head=yes | expected true or false for 'new_head' in task",
                "model.dropout=0.5 | dropout must be config or 0, received '0.5' in model.dropout",
                "method.type=lorra | expected one of lora, prefix-tuning for 'type' in method",
                "method.lora_alpha=3 | unknown key 'lora_alpha' in method (--set method.lora_alpha=3); it is called 'alpha' here",
                "method.targets=( | '(' is not a regular expression",
                "method.targets={} | targets must be a list of names, all-linear, or a regular expression",
                "method.dropout=1 | dropout must be in [0, 1), got 1.0 in method",
                "method={type: lora, layers_to_transform: [1], targets: all-linear} | layers_to_transform needs a list of targets",
                "method.r= | no value for 'method.r' (--set method.r=); to take the setting back write method.r=null",
                "labels=[a] | labels must be at least two",
                "labels=[a, a] | labels must differ",
                "data.max_length=0 | max_length must be at least 1, got 0 in data",
                "training.epochs=0 | epochs must be at least 1, got 0 in training",
                "training.groups.lora.learning_rate=-1 | learning_rate must be at least 0, got -1.0 in training.groups.lora",
                "training.schedule=linaer | did you mean 'linear'?",
            })
    void wrongSettingIsOneClearError(String option, String message) {
        assertThatThrownBy(() -> read(SPAM, option))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "task: sequence-classification\n",
                "task: {type: sequence-classification}\n",
                "task: {type: sequence-classification, new_head: false}\n"
            })
    void taskIsANameOrARecordAndOptionsChangeBoth(String task) throws IOException {
        String text = SHORT + task;

        assertThat(read(text).task()).isEqualTo(new SequenceClassificationConfig(false));
        assertThat(read(text, "task.new_head=true").task()).isEqualTo(new SequenceClassificationConfig(true));
        assertThat(read(text, "task.new_head=true", "task=sequence-classification")
                        .task())
                .isEqualTo(new SequenceClassificationConfig(true));
        assertThat(RunConfigFile.toMap(read(text, "task.new_head=true")).get("task"))
                .isEqualTo(Map.of("type", "sequence-classification", "new_head", true));
    }

    @Test
    void methodMayBeLeftOutWhereARunGoesOnFromAnAdapter() throws IOException {
        String text = SHORT.replace("method: {type: lora}", "adapter: runs/a");

        assertThat(read(text).method()).isNull();
        assertThat(RunConfigFile.toMap(read(text))).containsEntry("method", null);
    }

    @ParameterizedTest
    @CsvSource({
        "model, model: m",
        "train, train: t.csv",
        "method, method: {type: lora}",
        "type, type: lora",
        "output, output: o"
    })
    void missingKeyIsNamed(String key, String line) {
        assertThatThrownBy(() -> read(SHORT.replace(line, "")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("missing")
                .hasMessageContaining("'" + key + "'");
    }

    @Test
    void builderSaysWhatIsMissing() {
        assertThatThrownBy(() -> RunConfig.builder().model(Path.of("m")).build())
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("data");
    }

    @Test
    void totalStepsCountSmallerLastBatchesAndAccumulation() {
        assertThat(steps(2000, 1, 16, 1, 0)).isEqualTo(125);
        assertThat(steps(2001, 1, 16, 1, 0)).isEqualTo(126);
        assertThat(steps(2001, 3, 16, 4, 0)).isEqualTo(3 * 32);
        assertThat(steps(2000, 1, 16, 1, 20)).isEqualTo(20);
        assertThat(steps(16, 1, 16, 1, 20)).isEqualTo(1);
    }

    private static long steps(long examples, int epochs, int batchSize, int accumulation, long maxSteps) {
        return TrainingConfig.builder()
                .epochs(epochs)
                .batchSize(batchSize)
                .gradientAccumulation(accumulation)
                .maxSteps(maxSteps)
                .build()
                .totalSteps(examples);
    }

    private RunConfig read(String yaml, String... overrides) throws IOException {
        Path file = Files.writeString(temporary.resolve("spam.yaml"), yaml);
        return RunConfigFile.read(file, new ArrayList<>(List.of(overrides)));
    }
}
