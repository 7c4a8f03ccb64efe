package org.peft4j.run.files;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.Pooling;
import org.peft4j.config.ProblemType;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;

class AdapterSettingsTest {
    private static final String HASH = "0123456789abcdef".repeat(4);

    @TempDir
    Path adapter;

    static List<TaskConfig> tasks() {
        return List.of(
                SequenceClassificationConfig.builder()
                        .labels("ham", "spam")
                        .maxLength(9)
                        .build(),
                SequenceClassificationConfig.builder()
                        .text("a")
                        .textPair("b")
                        .label("c")
                        .problem(ProblemType.REGRESSION)
                        .build(),
                TokenClassificationConfig.defaults()
                        .withLabels(List.of("O", "B-X"))
                        .withColumns("w", "t"),
                EmbeddingConfig.builder()
                        .pooling(Pooling.FIRST)
                        .normalize(true)
                        .score("s")
                        .build(),
                CausalLmConfig.defaults().withLossOn(CausalLmConfig.LossOn.ALL).withPacking(true));
    }

    @ParameterizedTest
    @MethodSource("tasks")
    void whatIsWrittenIsReadAgain(TaskConfig task) throws IOException {
        AdapterSettings settings = new AdapterSettings(task, HASH);
        settings.write(adapter);

        assertThat(AdapterSettings.read(adapter)).contains(settings);
        assertThat(Json.readObject(adapter.resolve("peft4j.json"))).containsOnlyKeys("task", "base_sha256");
    }

    @Test
    void adaptersUnderItAreKept() throws IOException {
        AdapterSettings.Under one = new AdapterSettings.Under("runs/en", HASH);
        AdapterSettings settings = new AdapterSettings(CausalLmConfig.defaults(), HASH, List.of(one));
        settings.write(adapter);
        assertThat(AdapterSettings.read(adapter)).contains(settings);
        assertThat(settings.trainedOnTop().orElseThrow()).contains("on top of the frozen adapter runs/en");
        assertThat(settings.otherAdaptersUnder(List.of(one))).isEmpty();
        assertThat(settings.otherAdaptersUnder(List.of()))
                .hasValueSatisfying(note -> assertThat(note).contains("this run has no frozen_adapters"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {"7", "{}", "[7]", "[{'adapter': 'a'}]", "[{'adapter': 'a', 'sha256': 'b'}]"})
    void wrongAdaptersUnderItAreRefused(String under) throws IOException {
        new AdapterSettings(CausalLmConfig.defaults(), HASH).write(adapter);
        Path file = adapter.resolve("peft4j.json");
        String json = Files.readString(file).strip();
        Files.writeString(
                file,
                json.substring(0, json.length() - 1) + ", \"frozen_adapters\": " + under.replace('\'', '"') + "}");
        assertThatThrownBy(() -> AdapterSettings.read(adapter))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(
                        "frozen_adapters must be a list of {adapter: a directory, sha256: 64 hexadecimal");
    }

    @Test
    void taskHasTheFormOfTheRunFile() throws IOException {
        SequenceClassificationConfig task = SequenceClassificationConfig.builder()
                .labels("0", "1")
                .problem(ProblemType.MULTI_LABEL)
                .build();
        new AdapterSettings(task, null).write(adapter);

        assertThat(Json.readObject(adapter.resolve("peft4j.json")))
                .isEqualTo(Json.readObject(adapter, """
                        {"task": {"type": "sequence-classification", "labels": ["0", "1"], "text": "text", "label": "label",
                         "max_length": 256, "new_head": false, "problem": "multi_label_classification"}}
                        """.getBytes(java.nio.charset.StandardCharsets.UTF_8)));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{'task': 'sequence-classification', 'labels': ['ham', 'spam'], 'max_length': 32, 'text': 'mail', 'label': 'is'}",
                "{'labels': ['ham', 'spam'], 'max_length': 32, 'text': 'mail', 'label': 'is'}"
            })
    void filesOfEarlierVersionsAreRead(String json) throws IOException {
        assertThat(read(json))
                .isEqualTo(new AdapterSettings(
                        SequenceClassificationConfig.builder()
                                .labels("ham", "spam")
                                .maxLength(32)
                                .text("mail")
                                .label("is")
                                .build(),
                        null));
        assertThat(read("{'labels': [0, 1], 'max_length': 32}").classification().labels())
                .as("whole numbers are names, too")
                .containsExactly("0", "1");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{'labels': ['a', 'b'], 'max_length': 8, 'lable': 'x'} | unknown key 'lable'; did you mean 'label'?",
                "{'task': 'token-classification', 'labels': ['a', 'b'], 'max_length': 8} | task must be sequence-classification",
                "{'labels': ['a', 'b']} | max_length must be a whole number",
                "{'labels': ['a', 'b'], 'max_length': '8'} | max_length must be a whole number",
                "{'labels': ['a', 'b'], 'max_length': 0} | max_length must be at least 1",
                "{'labels': ['a', 'b'], 'max_length': 16777217} | max_length must be at most",
                "{'labels': ['a', 1.5], 'max_length': 8} | labels must be a list of names, got 1.5",
                "{'labels': 'a', 'max_length': 8} | expected a list",
                "{'labels': ['1', '1.0'], 'max_length': 8} | labels must differ",
                "{'max_length': 8} | labels must be 2",
                "{'labels': ['a', 'b'], 'max_length': 8, 'text': ''} | text must name a column",
                "{'labels': ['a', 'b'], 'max_length': 8, 'base_sha256': 'x'} | base_sha256 must be",
                "{'task': {'type': 'sequence-classification', 'labels': ['a', 'b'], 'max_length': 8}, 'text': 'x'} | unknown key 'text'",
                "{'task': {'type': 'sequence-classification', 'labels': ['a', 'b'], 'max_length': 8, 'txt': 'x'}} | unknown key 'txt'",
                "{'task': {'type': 'sequence-clasification', 'labels': ['a', 'b'], 'max_length': 8}} | expected one of causal-lm",
                "{'task': {'labels': ['a', 'b'], 'max_length': 8}} | missing 'type'",
            })
    void whatIsWrongIsNamed(String json, String message) {
        assertThatThrownBy(() -> read(json))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("peft4j.json: ")
                .hasMessageContaining(message);
    }

    @Test
    void adapterOfAnotherTaskIsNoClassifier() {
        AdapterSettings settings = new AdapterSettings(CausalLmConfig.defaults(), null);

        assertThatThrownBy(settings::classification)
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("causal-lm", "sequence-classification");
    }

    private AdapterSettings read(String json) throws IOException {
        Files.writeString(adapter.resolve("peft4j.json"), json.replace('\'', '"'));
        return AdapterSettings.read(adapter).orElseThrow();
    }
}
