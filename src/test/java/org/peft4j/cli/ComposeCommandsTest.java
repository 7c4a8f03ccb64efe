package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.ComposedAdapters;
import org.peft4j.Fixtures;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.ReductionFactor;

/** Adapters that act together, from a call's arguments to what it writes. */
class ComposeCommandsTest {
    @TempDir
    static Path directory;

    @TempDir
    Path temporary;

    private static Path rows;

    @BeforeAll
    static void write() throws IOException {
        BottleneckConfig config = BottleneckConfig.seqBn().toBuilder()
                .reductionFactor(ReductionFactor.of(4))
                .build();
        BottleneckConfig headed =
                config.toBuilder().modulesToSave(List.of("classifier")).build();
        try (ComposedAdapters bert = new ComposedAdapters(Fixtures.TINY_BERT, directory, "SEQ_CLS")) {
            bert.write("lang", headed, 1);
            bert.write("task", headed, 2);
        }
        try (ComposedAdapters llama = new ComposedAdapters(Fixtures.TINY_LLAMA, directory, "CAUSAL_LM")) {
            llama.write("la", config, 3);
            llama.write("lb", config, 4);
        }
        rows = Files.write(
                directory.resolve("rows.jsonl"),
                List.of(
                        "{\"text\": \"list number you\", \"label\": \"ham\"}",
                        "{\"text\": \"spam url\", \"label\": \"spam\"}",
                        "{\"text\": \"mail the list\", \"label\": \"ham\"}"));
    }

    /** A call on the model with some adapters; the first word is the command. */
    private static Cli.Result run(Path model, List<String> adapters, String... words) {
        List<Object> call = new ArrayList<>(List.of(words[0], "--model", model, "--device", "cpu"));
        for (String adapter : adapters) {
            call.add("--adapter");
            call.add(adapter);
        }
        call.addAll(List.of(words).subList(1, words.length));
        return Cli.run(call.toArray());
    }

    private static String at(String name) {
        return name + "=" + directory.resolve(name);
    }

    private static List<JsonNode> predict(List<String> adapters, String... more) throws IOException {
        List<String> words = new ArrayList<>(List.of("predict", "--data", rows.toString(), "--out", "-"));
        words.addAll(List.of(more));
        return Cli.lines(run(Fixtures.TINY_BERT, adapters, words.toArray(String[]::new)));
    }

    @Test
    void aStackPredictsAsOneAdapter() throws IOException {
        Cli.Result result = run(
                Fixtures.TINY_BERT,
                List.of(at("lang"), at("task")),
                "predict",
                "--compose",
                "Stack(lang, task)",
                "--labels",
                "x,y",
                "--data",
                rows.toString(),
                "--out",
                "-");
        assertThat(result.err())
                .contains(
                        "note: composition Stack(lang, task): task, labels and head are those of 'task'; what 'lang' learned",
                        "3 rows: {x=");
        assertThat(Cli.lines(result).get(0).fieldNames())
                .toIterable()
                .containsExactly("text", "input_label", "label", "logits", "probabilities");
        List<JsonNode> setup = predict(
                List.of(at("lang"), at("task")),
                "--compose",
                "{\"type\": \"Stack\", \"children\": [{\"type\": \"single\", \"children\": [\"lang\"]},"
                        + " {\"type\": \"single\", \"children\": [\"task\"]}]}",
                "--labels",
                "x,y");
        assertThat(setup).isEqualTo(Cli.lines(result));
        assertThat(predict(List.of(at("lang"), at("task")), "--compose", "Average(lang, task)", "--head-of", "lang"))
                .hasSize(3);
    }

    @Test
    void aParallelAddsTheColumnsOfEachBranch() throws IOException {
        List<JsonNode> both =
                predict(List.of(at("lang"), at("task")), "--compose", "Parallel(lang, Stack(lang, task))");
        assertThat(both.get(0).fieldNames())
                .toIterable()
                .containsExactly(
                        "text",
                        "label",
                        "lang.label",
                        "lang.logits",
                        "lang.probabilities",
                        "Stack(lang, task).label",
                        "Stack(lang, task).logits",
                        "Stack(lang, task).probabilities");
        List<JsonNode> alone = predict(List.of(directory.resolve("lang").toString()));
        for (int i = 0; i < 3; i++) {
            assertThat(both.get(i).get("lang.label")).isEqualTo(alone.get(i).get("label"));
        }
        Cli.Result evaluated = run(
                Fixtures.TINY_BERT,
                List.of(at("lang"), at("task")),
                "evaluate",
                "--compose",
                "Parallel(lang, task)",
                "--data",
                rows.toString());
        assertThat(evaluated.status()).as(evaluated.err()).isZero();
        assertThat(TaskRuns.JSON.readTree(evaluated.out()).at("/task/accuracy").isNumber())
                .isTrue();
        assertThat(TaskRuns.JSON.readTree(evaluated.out()).fieldNames())
                .toIterable()
                .containsExactly("lang", "task");
    }

    @Test
    void aBatchSplitSharesTheRowsOfTheFile() throws IOException {
        List<JsonNode> split = predict(
                List.of(at("lang"), at("task")), "--compose", "BatchSplit(lang, task; 1, 2)", "--batch-size", "2");
        List<JsonNode> lang = predict(List.of(directory.resolve("lang").toString()), "--batch-size", "2");
        List<JsonNode> task = predict(List.of(directory.resolve("task").toString()), "--batch-size", "2");
        List<String> columns = List.of("label", "input_label");
        for (String column : columns) {
            assertThat(split.get(0).get(column)).isEqualTo(lang.get(0).get(column));
            assertThat(split.get(1).get(column)).isEqualTo(task.get(1).get(column));
            assertThat(split.get(2).get(column)).isEqualTo(task.get(2).get(column));
        }
        for (String sizes : List.of("1, 1", "2, 2")) {
            Path out = temporary.resolve("out.jsonl");
            Cli.Result wrong = run(
                    Fixtures.TINY_BERT,
                    List.of(at("lang"), at("task")),
                    "predict",
                    "--compose",
                    "BatchSplit(lang, task; " + sizes + ")",
                    "--data",
                    rows.toString(),
                    "--out",
                    out.toString());
            assertThat(wrong.status()).isEqualTo(2);
            assertThat(wrong.err()).contains("the sum of BatchSplit's sizes");
            assertThat(out).as("whole or absent").doesNotExist();
        }
    }

    @Test
    void languageModelsGenerateAndScore() throws IOException {
        List<String> both = List.of(at("la"), at("lb"));
        Cli.Result generated = run(
                Fixtures.TINY_LLAMA,
                both,
                "generate",
                "--compose",
                "Stack(la, lb)",
                "--prompt",
                "you",
                "--max-new-tokens",
                "3");
        assertThat(generated.status()).as(generated.err()).isZero();
        Cli.Result refused =
                run(Fixtures.TINY_LLAMA, both, "generate", "--compose", "Parallel(la, lb)", "--prompt", "you");
        assertThat(refused.status()).isEqualTo(2);
        assertThat(refused.err()).contains("generate takes one adapter for all rows", "predict, score and embed");
        List<JsonNode> scored = Cli.lines(run(
                Fixtures.TINY_LLAMA,
                both,
                "score",
                "--compose",
                "Parallel(la, lb)",
                "--data",
                rows.toString(),
                "--out",
                "-"));
        assertThat(scored.get(0).get("la.log_prob").isNumber()).isTrue();
        assertThat(scored.get(0).has("lb.tokens")).isTrue();
        List<JsonNode> embedded = Cli.lines(run(
                Fixtures.TINY_LLAMA,
                List.of(at("la")),
                "score",
                "--compose",
                "la",
                "--data",
                rows.toString(),
                "--out",
                "-"));
        assertThat(embedded.get(0).get("log_prob")).isEqualTo(scored.get(0).get("la.log_prob"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "Stack(lang, task) | lang=DIR          |  | has 'task': give --adapter task=DIR, too",
                "Stack(lang)       | lang=DIR task=DIR |  | --adapter task has no place in --compose Stack(lang)",
                "Stack(lang)       | lang=DIR lang=DIR |  | --adapter lang is given twice",
                "Stack(lang)       | DIR               |  | with --compose an adapter is --adapter NAME=DIR, got '",
                "Stack(lang)       | lang=nowhere      |  | --adapter",
                "Stack(lang, ,)    | lang=DIR          |  | composition 'Stack(lang, ,)', character 13: expected the name",
                "Fuse(lang, task)  | lang=DIR task=DIR |  | no fusion of [lang, task] is given",
                "Average(lang, task) | lang=DIR task=DIR | | have tasks or heads that differ, and both are last",
                "Average(lang, task) | lang=DIR task=DIR | tusk | has no 'tusk' whose head it could have",
                "Average(lang, task; 0, 1) | lang=DIR task=DIR | | Average needs weights above 0",
                "``                | lang=DIR task=DIR |  | --adapter is given 2 times, but without --compose there is one",
                "``                | DIR               | lang | --head-of goes with --compose",
            })
    void wrongCallsAreRefused(String compose, String adapters, String headOf, String message) {
        List<String> words = new ArrayList<>(List.of("predict", "--data", rows.toString(), "--out", "-"));
        if (!compose.isEmpty()) {
            words.addAll(List.of("--compose", compose));
        }
        if (headOf != null) {
            words.addAll(List.of("--head-of", headOf));
        }
        List<String> given = List.of(adapters.replaceAll("(\\w+)=DIR", "$1=" + directory + "/$1")
                .replaceAll("^DIR", directory + "/lang")
                .split(" ", -1));
        Cli.Result result = run(Fixtures.TINY_BERT, given, words.toArray(String[]::new));
        assertThat(result.status()).isEqualTo(2);
        assertThat(result.err()).contains(message);
        assertThat(result.out()).isEmpty();
    }
}
