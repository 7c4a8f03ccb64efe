package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.peft4j.Fixtures;
import org.peft4j.io.Json;

/** One small run of each task: rows of very different lengths, on the tiny models. */
record TaskRuns(String name, Path model, String task, List<Map<String, Object>> rows) {
    static final JsonMapper JSON = new JsonMapper();

    /** Eight texts of 1 to 19 words. */
    private static final int[] WORDS = {1, 14, 2, 19, 3, 1, 7, 11};

    private static final String[] VOCABULARY = {
        "email", "list", "number", "spam", "mail", "url", "from", "the", "this", "will", "your", "just", "you"
    };

    /** Number of rows of each run. */
    static final int ROWS = WORDS.length;

    private static String text(int row, int seed) {
        return String.join(" ", words(row, seed));
    }

    private static List<String> words(int row, int seed) {
        List<String> words = new ArrayList<>();
        for (int w = 0; w < WORDS[row]; w++) {
            words.add(VOCABULARY[(row * 5 + w * 3 + seed) % VOCABULARY.length]);
        }
        return words;
    }

    private static List<Map<String, Object>> rows(java.util.function.IntFunction<Map<String, Object>> row) {
        return java.util.stream.IntStream.range(0, ROWS).mapToObj(row).toList();
    }

    static TaskRuns singleLabel() {
        List<String> labels = List.of("a", "b", "c");
        return new TaskRuns(
                "single label",
                Fixtures.TINY_BERT,
                "{type: sequence-classification, new_head: true, max_length: 24}",
                rows(i -> Map.of("text", text(i, 0), "label", labels.get(i % 3))));
    }

    static TaskRuns multiLabel() {
        List<List<String>> labels = List.of(List.of("a"), List.of(), List.of("a", "b", "c"), List.of("b"));
        return new TaskRuns(
                "multi-label",
                Fixtures.TINY_BERT,
                "{type: sequence-classification, problem: multi_label_classification, new_head: true, max_length: 24}",
                rows(i -> Map.of("text", text(i, 1), "label", labels.get(i % 4))));
    }

    static TaskRuns regression() {
        return new TaskRuns(
                "regression",
                Fixtures.TINY_BERT,
                "{type: sequence-classification, problem: regression, new_head: true, max_length: 24}",
                rows(i -> Map.of("text", text(i, 2), "label", 0.75 * i - 2)));
    }

    static TaskRuns tagging() {
        List<String> tags = List.of("O", "B-X", "I-X");
        return new TaskRuns(
                "tagging",
                Fixtures.TINY_BERT,
                "{type: token-classification, max_length: 24, new_head: true}",
                rows(i -> Map.of(
                        "words",
                        words(i, 3),
                        "tags",
                        java.util.stream.IntStream.range(0, WORDS[i])
                                .mapToObj(w -> tags.get(w % 3))
                                .toList())));
    }

    static TaskRuns texts() {
        return new TaskRuns(
                "texts",
                Fixtures.TINY_LLAMA,
                "{type: causal-lm, max_length: 32}",
                rows(i -> Map.of("text", text(i, 4))));
    }

    static TaskRuns packedTexts() {
        return new TaskRuns(
                "packed texts",
                Fixtures.TINY_LLAMA,
                "{type: causal-lm, max_length: 32, packing: true}",
                rows(i -> Map.of("text", text(i, 4))));
    }

    static TaskRuns responses() {
        return new TaskRuns(
                "responses",
                Fixtures.TINY_LLAMA,
                "{type: causal-lm, max_length: 32}",
                rows(i -> Map.of("prompt", VOCABULARY[i], "response", text(i, 6))));
    }

    static TaskRuns chats() {
        return new TaskRuns(
                "chats",
                Fixtures.TINY_LLAMA,
                "{type: causal-lm, max_length: 200, template: %s}"
                        .formatted(Fixtures.ROOT.resolve("chat-templates/own/chatml.jinja")),
                rows(i -> Map.of(
                        "messages",
                        List.of(
                                Map.of("role", "user", "content", VOCABULARY[i]),
                                Map.of("role", "assistant", "content", text(i, 6)),
                                Map.of("role", "user", "content", text(i, 5)),
                                Map.of("role", "assistant", "content", VOCABULARY[i])))));
    }

    static TaskRuns cosines() {
        return new TaskRuns(
                "cosines",
                Fixtures.TINY_BERT,
                "{type: embedding, score: score, max_length: 24}",
                rows(i -> Map.of("text", text(i, 7), "positive", text((i + 2) % ROWS, 8), "score", 0.25 * i - 0.75)));
    }

    static TaskRuns cosinesOfLastRows() {
        return new TaskRuns(
                "cosines of last rows",
                Fixtures.TINY_LLAMA,
                "{type: embedding, score: score, pooling: last, max_length: 24}",
                cosines().rows());
    }

    static TaskRuns pairs() {
        return new TaskRuns(
                "pairs",
                Fixtures.TINY_BERT,
                "{type: embedding, max_length: 24}",
                rows(i -> Map.of("text", text(i, 9), "positive", text(i, 10))));
    }

    @Override
    public String toString() {
        return name;
    }

    /** The rows as a file. */
    Path data(Path directory) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (Map<String, Object> row : rows) {
            lines.append(JSON.writeValueAsString(row)).append('\n');
        }
        return Files.writeString(directory.resolve("rows.jsonl"), lines);
    }

    /** Trains LoRA on the rows, in their order, without dropout, into {@code directory/output}; further lines override. */
    Cli.Result train(Path directory, String output, String... sets) throws IOException {
        Path data = data(directory);
        Path file = Files.writeString(
                directory.resolve("run.yaml"), """
                model: {path: %s, dropout: 0}
                task: %s
                data: {train: %s, validation: %s}
                method: {type: lora, r: 4, alpha: 8, dropout: 0, targets: all-linear}
                training: {epochs: 2, batch_size: 8, shuffle: false, optimizer: {learning_rate: 1e-4}, log_every: 1}
                output: %s
                """.formatted(model, task, data, data, directory.resolve(output)));
        List<Object> call = new ArrayList<>(List.of("train", "--config", file));
        for (String set : sets) {
            call.add("--set");
            call.add(set);
        }
        return Cli.run(call.toArray());
    }

    /** As {@link #train}, which has to succeed. */
    Path trained(Path directory, String output, String... sets) throws IOException {
        Cli.Result result = train(directory, output, sets);
        assertThat(result.err()).isEmpty();
        assertThat(result.status()).isZero();
        return directory.resolve(output);
    }

    /** The steps of a run's {@code metrics.jsonl}. */
    static List<JsonNode> steps(Path run) throws IOException {
        List<JsonNode> steps = new ArrayList<>();
        for (String line : Files.readAllLines(run.resolve("metrics.jsonl"))) {
            JsonNode step = JSON.readTree(line);
            if (!step.has("evaluation")) {
                steps.add(step);
            }
        }
        return steps;
    }

    /** What {@code run.json} says. */
    static Map<String, Object> runJson(Path run) throws IOException {
        return Json.readObject(run.resolve("run.json"));
    }
}
