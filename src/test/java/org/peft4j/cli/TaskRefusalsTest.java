package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.Variants;
import org.peft4j.io.safetensors.TensorData;

/** What does not fit a task: one message, status 2, nothing written. */
class TaskRefusalsTest {
    @TempDir
    static Path shared;

    @TempDir
    Path temporary;

    private static Path classifier;
    private static Path tagger;
    private static Path language;

    @BeforeAll
    static void train() throws IOException {
        classifier = TaskRuns.singleLabel().trained(shared, "classifier");
        tagger = TaskRuns.tagging().trained(shared, "tagger");
        language = TaskRuns.texts().trained(shared, "language");
    }

    /** Runs a call that has to be refused; {@code out} in it is a file that must not be there then. */
    private Cli.Result refused(List<Object> call, String... parts) throws IOException {
        List<String> before = Cli.files(temporary);
        Path out = temporary.resolve("out");

        Cli.Result result = Cli.run(
                call.stream().map(word -> word.equals("out") ? out : word).toArray());

        assertThat(result.status()).as(result.err()).isEqualTo(2);
        assertThat(result.err()).contains(parts).doesNotContain("\tat ", "Exception", "internal error");
        assertThat(result.err().lines().filter(line -> line.startsWith("peft4j: ")))
                .as(result.err())
                .hasSize(1);
        assertThat(Cli.files(temporary)).isEqualTo(before);
        return result;
    }

    private Path rows(String... lines) throws IOException {
        return Cli.write(temporary.resolve("data.jsonl"), String.join("\n", lines) + "\n");
    }

    private void trainIsRefused(TaskRuns task, List<String> sets, String... parts) throws IOException {
        Cli.Result result = task.train(temporary, "run", sets.toArray(String[]::new));

        assertThat(result.status()).as(result.err()).isEqualTo(2);
        assertThat(result.err()).startsWith("peft4j: ").contains(parts).hasLineCount(1);
        assertThat(temporary.resolve("run")).doesNotExist();
    }

    // A task that the model's family cannot do.

    @Test
    void anEncoderIsNoLanguageModel() throws IOException {
        String cannot = "a model of the family bert cannot do language modelling";
        trainIsRefused(TaskRuns.texts(), List.of("model.path=" + Fixtures.TINY_BERT), cannot);
        Path data = rows("{\"text\": \"a\"}");
        refused(List.of("score", "--model", Fixtures.TINY_BERT, "--data", data, "--out", "out"), cannot);
        refused(List.of("generate", "--model", Fixtures.TINY_BERT, "--data", data, "--out", "out"), cannot);
        refused(List.of("generate", "--model", Fixtures.TINY_BERT, "--prompt", "a"), cannot);
    }

    @Test
    void aFirstRowThatSeesNothingIsNoEmbedding() throws IOException {
        trainIsRefused(TaskRuns.cosinesOfLastRows(), List.of("task.pooling=first"), "pooling first", "last or mean");
        Path data = rows("{\"text\": \"a\"}");
        refused(
                List.of("embed", "--model", Fixtures.TINY_LLAMA, "--data", data, "--pooling", "first", "--out", "out"),
                "pooling first");
    }

    // An adapter that was trained for another task.

    @Test
    void anAdapterOfAnotherTaskIsRefusedByEachCommand() throws IOException {
        Path data = rows("{\"text\": \"a\", \"label\": \"a\"}");
        for (String command : List.of("embed", "score", "generate")) {
            refused(
                    List.of(
                            command,
                            "--model",
                            Fixtures.TINY_BERT,
                            "--adapter",
                            classifier,
                            "--data",
                            data,
                            "--out",
                            "out"),
                    "the adapter was trained for the task sequence-classification, not for ");
        }
        refused(
                List.of(
                        "predict",
                        "--model",
                        Fixtures.TINY_LLAMA,
                        "--adapter",
                        language,
                        "--data",
                        data,
                        "--out",
                        "out"),
                "the adapter was trained for the task causal-lm");
    }

    @Test
    void trainingDoesNotGoOnFromAnAdapterOfAnotherTask() throws IOException {
        trainIsRefused(
                TaskRuns.tagging(),
                List.of("adapter=" + classifier, "task.new_head=false"),
                "task is token-classification",
                "was trained for sequence-classification");
    }

    /** An adapter that Hugging Face PEFT wrote says it in its config. */
    @ParameterizedTest
    @ValueSource(strings = {"CAUSAL_LM", "QUESTION_ANS"})
    void theTaskTypeOfAForeignAdapterCounts(String type) throws IOException {
        Path foreign = Variants.adapter(
                "lora-query-value",
                Files.createDirectories(temporary.resolve("foreign")),
                UnaryOperator.identity(),
                tensors -> {},
                keys -> keys.put("task_type", type));
        Path data = rows("{\"text\": \"a\", \"label\": \"ham\"}");

        trainIsRefused(
                TaskRuns.singleLabel(),
                List.of("adapter=" + foreign, "task.new_head=false"),
                type.equals("CAUSAL_LM") ? "was trained for causal-lm" : "PEFT's task QUESTION_ANS");
        for (String command : List.of("predict", "score")) {
            refused(
                    List.of(
                            command,
                            "--model",
                            Fixtures.TINY_BERT,
                            "--adapter",
                            foreign,
                            "--data",
                            data,
                            "--out",
                            "out"),
                    type.equals("CAUSAL_LM") ? "language modelling" : "PEFT's task QUESTION_ANS");
        }
    }

    // Labels and tags.

    @Test
    void labelsThatAreNotTheAdaptersAreRefused() throws IOException {
        TaskRuns task = TaskRuns.singleLabel();
        String kept = "['a', 'b', 'c']";
        List<String> goOn = List.of("adapter=" + classifier, "task.new_head=false");
        trainIsRefused(task, with(goOn, "task.labels=[c, b, a]"), "labels are ['c', 'b', 'a']", "trained with " + kept);
        trainIsRefused(task, with(goOn, "task.labels=[a, b]"), "trained with " + kept);
        Path data = rows("{\"text\": \"a\", \"label\": \"a\"}", "{\"text\": \"a\", \"label\": \"d\"}");
        trainIsRefused(
                task, with(goOn, "data.train=" + data), "the adapter was trained with the labels " + kept, "'d'");
        refused(
                List.of("evaluate", "--model", task.model(), "--adapter", classifier, "--data", data),
                "data.jsonl: line 2: label 'd' is not in the labels " + kept);
        refused(
                List.of(
                        "predict",
                        "--model",
                        task.model(),
                        "--adapter",
                        classifier,
                        "--data",
                        data,
                        "--labels",
                        "x,y",
                        "--out",
                        "out"),
                "2 names",
                "3 outputs");
    }

    private static List<String> with(List<String> sets, String set) {
        List<String> all = new java.util.ArrayList<>(sets);
        all.add(set);
        return all;
    }

    @Test
    void tagsThatAreNotTheAdaptersAreRefused() throws IOException {
        TaskRuns task = TaskRuns.tagging();
        Path data = rows(
                "{\"words\": [\"a\"], \"tags\": [\"O\"]}", "{\"words\": [\"a\", \"b\"], \"tags\": [\"O\", \"B-Y\"]}");
        trainIsRefused(
                task,
                List.of("adapter=" + tagger, "task.new_head=false", "data.train=" + data),
                "the adapter was trained with the labels ['B-X', 'I-X', 'O']",
                "'B-Y'");
        refused(
                List.of("evaluate", "--model", task.model(), "--adapter", tagger, "--data", data),
                "data.jsonl: line 2: label 'B-Y' is not in the labels");
    }

    /** Tags that are no BIO sequence are counted and shown; nothing is refused. */
    @Test
    void tagsThatAreNoBioSequenceAreCountedAndShown() throws IOException {
        TaskRuns task = TaskRuns.tagging();
        Path data = rows(
                "{\"words\": [\"a\", \"b\"], \"tags\": [\"O\", \"I-X\"]}",
                "{\"words\": [\"a\", \"b\"], \"tags\": [\"B-X\", \"I-X\"]}",
                "{\"words\": [\"a\"], \"tags\": [\"I-X\"]}");

        Cli.Result trained = task.train(temporary, "run", "data.train=" + data, "data.validation=" + data);
        JsonNode metrics =
                TaskRuns.JSON.readTree(Cli.run("evaluate", "--model", task.model(), "--adapter", tagger, "--data", data)
                        .out());

        assertThat(trained.status()).as(trained.err()).isZero();
        assertThat(trained.out())
                .contains("note: 2 of 3 rows of " + data + " have tags that are no BIO sequence")
                .contains("2 malformed BIO rows");
        assertThat(metrics.get("malformed_bio_rows").asInt()).isEqualTo(2);
        assertThat(metrics.has("malformed_bio_predictions")).isTrue();
        assertThat(Files.readString(temporary.resolve("run/report.html"))).contains("malformed BIO rows");
    }

    // Lengths and tokens.

    @Test
    void rowsMustLeaveRoomForWhatIsInserted() throws IOException {
        trainIsRefused(
                TaskRuns.singleLabel(),
                List.of("method={type: prompt-tuning, virtual_tokens: 10}", "task.max_length=60"),
                "task.max_length must be at most 54",
                "64 positions, 10 taken by the method");
        Path data = rows("{\"text\": \"a\"}");
        refused(
                List.of(
                        "predict",
                        "--model",
                        Fixtures.TINY_BERT,
                        "--adapter",
                        Fixtures.ADAPTERS.resolve("prompt-tuning"),
                        "--data",
                        data,
                        "--max-length",
                        64,
                        "--out",
                        "out"),
                "max_length must be at most ");
    }

    /** The tiny models with fewer rows in their tables than their tokenizers have tokens. */
    private Path smaller(Path model) throws IOException {
        Path copy = temporary.resolve("smaller");
        boolean bert = model.equals(Fixtures.TINY_BERT);
        java.util.function.Consumer<java.util.Map<String, Object>> keys = all -> all.put("vocab_size", 40);
        java.util.function.Consumer<List<TensorData>> tensors = all -> all.replaceAll(TaskRefusalsTest::cut);
        if (bert) {
            Variants.tinyBert(copy, UnaryOperator.identity(), tensors, keys);
        } else {
            Variants.tinyLlama(copy, tensors, keys);
        }
        for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
            Files.copy(model.resolve(name), copy.resolve(name));
        }
        return copy;
    }

    private static TensorData cut(TensorData data) {
        boolean table = data.name().contains("word_embeddings")
                || data.name().contains("embed_tokens")
                || data.name().contains("lm_head");
        if (!table) {
            return data;
        }
        int columns = Math.toIntExact(data.shape().get(1));
        return new TensorData(
                data.name(),
                data.dtype(),
                List.of(40L, (long) columns),
                data.bytes()
                        .slice(0, 40 * columns * Float.BYTES)
                        .order(data.bytes().order()));
    }

    @Test
    void aTokenBeyondTheEmbeddingNamesItsRow() throws IOException {
        String token = "the text has the token ";
        String table = "the model's embedding has only 40 rows";
        Path llama = smaller(Fixtures.TINY_LLAMA);
        trainIsRefused(TaskRuns.texts(), List.of("model.path=" + llama), "rows.jsonl, line 1: " + token, table);
        Path data = rows("{\"prompt\": \"a\", \"response\": \"you\"}");
        for (String command : List.of("score", "generate", "embed")) {
            refused(
                    List.of(
                            command,
                            "--model",
                            llama,
                            "--data",
                            command.equals("embed")
                                    ? Files.writeString(temporary.resolve("texts.jsonl"), "{\"text\": \"you\"}")
                                    : data,
                            "--out",
                            "out"),
                    "line 1: " + token,
                    table);
        }
        refused(List.of("evaluate", "--model", llama, "--data", data), "data.jsonl, line 1: " + token, table);
        refused(
                List.of("generate", "--model", llama, "--prompt", "you", "--out", "out"),
                "prompt 1 of 1: " + token,
                table);
    }

    @Test
    void aTokenBeyondTheEmbeddingOfAClassifierNamesItsRow() throws IOException {
        Path bert = smaller(Fixtures.TINY_BERT);
        for (TaskRuns task : Arrays.asList(TaskRuns.singleLabel(), TaskRuns.tagging(), TaskRuns.pairs())) {
            trainIsRefused(
                    task,
                    List.of("model.path=" + bert),
                    "rows.jsonl, line 1: the text has the token ",
                    "the model's embedding has only 40 rows");
        }
    }

    @Test
    void rowsOfWhichNothingCountsAreRefused() throws IOException {
        Path data = rows("{\"prompt\": \"" + "you ".repeat(40) + "\", \"response\": \"a\"}");
        trainIsRefused(TaskRuns.responses(), List.of("data.train=" + data), "no row has a token that counts");
        refused(List.of("evaluate", "--model", Fixtures.TINY_LLAMA, "--data", data), "no row has a token that counts");
    }
}
