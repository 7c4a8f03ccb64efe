package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

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
import org.peft4j.Fixtures;

/** Commands of tasks other than one label for a text, from their arguments to what they print and write. */
class LanguageCommandsTest {
    private static final Path LLAMA = Fixtures.TINY_LLAMA;

    @TempDir
    static Path shared;

    @TempDir
    Path temporary;

    private static Path adapter;
    private static Cli.Result trained;

    @BeforeAll
    static void train() throws IOException {
        trained = TaskRuns.texts().train(shared, "run", "training.optimizer.learning_rate=1e-2");
        adapter = shared.resolve("run");
    }

    private static List<JsonNode> rows(Path file) throws IOException {
        return rows(Files.readString(file));
    }

    private static List<JsonNode> rows(String lines) throws IOException {
        List<JsonNode> rows = new ArrayList<>();
        for (String line : lines.lines().toList()) {
            rows.add(TaskRuns.JSON.readTree(line));
        }
        return rows;
    }

    private static Cli.Result done(Object... call) {
        Cli.Result result = Cli.run(call);
        assertThat(result.status()).as(result.err()).isZero();
        return result;
    }

    // A language model.

    @Test
    void trainingTellsPerplexityAndWhatToDoNext() throws IOException {
        assertThat(trained.status()).as(trained.err()).isZero();
        assertThat(trained.out())
                .contains("validation after step 1: perplexity ", " tokens, ")
                .contains("\nperplexity ")
                .contains("peft4j generate --model " + LLAMA + " --adapter " + adapter)
                .doesNotContain("NaN", "accuracy", "labels", "predict");
        assertThat(Files.readString(adapter.resolve("report.html")))
                .contains("validation perplexity", "<h3>Perplexity</h3>")
                .doesNotContain("accuracy", "macro F1", "Which class");
        assertThat(Files.readString(adapter.resolve("adapter_config.json"))).contains("\"CAUSAL_LM\"");
    }

    @Test
    void evaluatePrintsThePerplexityOfTheLastEvaluation() throws IOException {
        JsonNode metrics = TaskRuns.JSON.readTree(done(
                        "evaluate",
                        "--model",
                        LLAMA,
                        "--adapter",
                        adapter,
                        "--data",
                        TaskRuns.texts().data(shared))
                .out());

        assertThat(metrics.get("perplexity").asDouble())
                .isCloseTo(Math.exp(metrics.get("loss").asDouble()), within(1e-9));
        assertThat(metrics.get("tokens").isIntegralNumber()).isTrue();
        assertThat(metrics.get("examples").asInt()).isEqualTo(TaskRuns.ROWS);
        List<String> lines = Files.readAllLines(adapter.resolve("metrics.jsonl"));
        JsonNode last = TaskRuns.JSON.readTree(lines.get(lines.size() - 1));
        assertThat(metrics.get("perplexity").asDouble())
                .isCloseTo(last.get("perplexity").asDouble(), within(1e-4));
        assertThat(metrics.get("tokens")).isEqualTo(last.get("tokens"));
    }

    @Test
    void anEvaluationCountsRowsThoughTheyWereTrainedTogether() throws IOException {
        TaskRuns packed = TaskRuns.packedTexts();
        Path run = packed.trained(temporary, "packed");

        JsonNode metrics = TaskRuns.JSON.readTree(
                done("evaluate", "--model", LLAMA, "--adapter", run, "--data", packed.data(temporary))
                        .out());

        assertThat(((Number) TaskRuns.runJson(run).get("train_examples")).intValue())
                .isLessThan(TaskRuns.ROWS);
        assertThat(metrics.get("examples").asInt()).isEqualTo(TaskRuns.ROWS);
    }

    @Test
    void aTextsScoreIsItsLossTimesItsTokens() throws IOException {
        Path data = TaskRuns.texts().data(temporary);
        Path out = temporary.resolve("scored.jsonl");
        JsonNode metrics = TaskRuns.JSON.readTree(
                done("evaluate", "--model", LLAMA, "--data", data).out());

        Cli.Result result = done("score", "--model", LLAMA, "--data", data, "--out", out, "--batch-size", 3);

        assertThat(result.err()).contains("8 rows\n");
        double sum = 0;
        long tokens = 0;
        for (JsonNode row : rows(out)) {
            assertThat(row.has("text")).isTrue();
            assertThat(row.get("log_prob").asDouble()).isNegative();
            sum += row.get("log_prob").asDouble();
            tokens += row.get("tokens").asLong();
        }
        assertThat(tokens).isEqualTo(metrics.get("tokens").asLong());
        assertThat(-sum / tokens).isCloseTo(metrics.get("loss").asDouble(), within(1e-6));
    }

    @Test
    void ofPromptAndResponseTheResponseIsScoredAndAnEmptyOneIsZero() throws IOException {
        Path data = Cli.write(temporary.resolve("rows.jsonl"), """
                {"prompt": "the list", "response": " of mail", "log_prob": "mine"}
                {"prompt": "the list", "response": ""}
                {"prompt": "", "response": "you"}
                {"text": "you"}
                {"text": ""}
                """);

        List<JsonNode> rows = rows(done("score", "--model", LLAMA, "--adapter", adapter, "--data", data, "--out", "-")
                .out());

        assertThat(rows.get(0).get("input_log_prob").asText()).isEqualTo("mine");
        assertThat(rows.get(0).get("tokens").asInt()).isPositive();
        assertThat(rows.get(0).get("log_prob").asDouble()).isNegative();
        assertThat(rows.get(1).get("tokens").asInt()).isZero();
        assertThat(rows.get(1).get("log_prob").asDouble()).isZero();
        assertThat(rows.get(2).get("tokens"))
                .as("a response begins as a text does")
                .isEqualTo(rows.get(3).get("tokens"));
        assertThat(rows.get(2).get("log_prob").asDouble())
                .isCloseTo(rows.get(3).get("log_prob").asDouble(), within(1e-5));
        assertThat(rows.get(4).get("tokens").asInt()).as("a start token alone").isZero();
        assertThat(rows.get(4).get("log_prob").asDouble()).isZero();
    }

    @Test
    void generateWithAPromptPrintsTheContinuationAlone() throws IOException {
        Path out = temporary.resolve("out.jsonl");
        Object[] call = {
            "generate", "--model", LLAMA, "--adapter", adapter, "--prompt", "the list", "--max-new-tokens", 12
        };

        Cli.Result printed = done(call);
        Cli.Result written = done(with(call, "--out", out));

        assertThat(printed.err()).isEmpty();
        assertThat(written.out()).isEmpty();
        JsonNode row = rows(out).get(0);
        assertThat(row.get("prompt").asText()).isEqualTo("the list");
        assertThat(row.get("output_ids").size()).isBetween(1, 12);
        assertThat(printed.out()).isEqualTo(row.get("output").asText() + "\n").doesNotContain("the list");
        assertThat(done(call).out()).isEqualTo(printed.out());
    }

    private static Object[] with(Object[] call, Object... more) {
        List<Object> all = new ArrayList<>(List.of(call));
        all.addAll(List.of(more));
        return all.toArray();
    }

    @Test
    void generateWithDataAddsOutputsToItsRows() throws IOException {
        Path data = Cli.write(temporary.resolve("rows.jsonl"), """
                {"id": 7, "prompt": "the list"}
                {"text": "you", "output": "mine"}
                """);
        Path out = temporary.resolve("out.jsonl");

        Cli.Result result = done("generate", "--model", LLAMA, "--data", data, "--out", out, "--max-new-tokens", 5);

        assertThat(result.out()).isEmpty();
        assertThat(result.err()).isEqualTo("2 rows\n");
        List<JsonNode> rows = rows(out);
        assertThat(rows.get(0).get("id").asInt()).isEqualTo(7);
        assertThat(rows.get(0).get("output").asText() + "\n")
                .isEqualTo(done("generate", "--model", LLAMA, "--prompt", "the list", "--max-new-tokens", 5)
                        .out());
        assertThat(rows.get(1).get("input_output").asText()).isEqualTo("mine");
        assertThat(rows.get(1).get("output_ids").size()).isBetween(1, 5);
        assertThat(Cli.files(temporary)).containsExactly("out.jsonl", "rows.jsonl");
    }

    @Test
    void aStopStringEndsTheContinuationAndIsNoPartOfIt() {
        Object[] call = {"generate", "--model", LLAMA, "--prompt", "the list", "--max-new-tokens", 20};
        String whole = done(call).out().stripTrailing();
        assertThat(whole).hasSizeGreaterThan(8);
        String stop = whole.substring(5, 7);

        String stopped =
                done(with(call, "--stop", stop, "--stop", "never said")).out();

        assertThat(stopped).isEqualTo(whole.substring(0, whole.indexOf(stop)) + "\n");
    }

    @Test
    void severalAnswersAreAListInTheRow() throws IOException {
        Path data = Cli.write(temporary.resolve("rows.jsonl"), "{\"prompt\": \"the list\"}\n{\"prompt\": \"you\"}\n");
        Object[] call = {
            "generate", "--model", LLAMA, "--data", data, "--out", "-", "--max-new-tokens", 5, "--log-probs"
        };

        List<JsonNode> one = rows(done(call).out());
        List<JsonNode> best =
                rows(done(with(call, "--beams", 3, "--n", 2, "--batch-size", 1)).out());
        List<JsonNode> drawn =
                rows(done(with(call, "--temperature", 1, "--n", 3)).out());

        assertThat(one.get(0).get("log_probs")).hasSameSizeAs(one.get(0).get("output_ids"));
        assertThat(best).hasSize(2).allSatisfy(row -> {
            assertThat(row.get("outputs")).hasSize(2);
            assertThat(row.has("output")).isFalse();
            assertThat(row.get("outputs").get(1).get("output").isTextual()).isTrue();
            assertThat(row.get("outputs").get(1).get("log_probs"))
                    .hasSameSizeAs(row.get("outputs").get(1).get("output_ids"));
        });
        assertThat(drawn.get(1).get("outputs")).hasSize(3);
    }

    @Test
    void theModelsOwnSettingsCountWhereTheyAreAskedFor() throws IOException {
        Path model = temporary.resolve("model");
        Files.createDirectory(model);
        for (String name : List.of("config.json", "model.safetensors", "tokenizer.json")) {
            Files.copy(LLAMA.resolve(name), model.resolve(name));
        }
        Files.writeString(
                model.resolve("generation_config.json"),
                "{\"num_beams\": 3, \"max_new_tokens\": 4, \"unheard_of\": 1}");
        Object[] call = {"generate", "--model", model, "--prompt", "the list"};

        Cli.Result own = done(with(call, "--generation-config"));

        assertThat(own.out())
                .isEqualTo(done(with(call, "--beams", 3, "--max-new-tokens", 4)).out());
        assertThat(own.err())
                .startsWith("note: generation_config.json: 'unheard_of' is passed over")
                .hasLineCount(1);
        assertThat(done(with(call, "--generation-config", "--beams", 1)).out())
                .isEqualTo(done(with(call, "--max-new-tokens", 4)).out());
        Files.delete(model.resolve("generation_config.json"));
        Cli.Result refused = Cli.run(with(call, "--generation-config"));
        assertThat(refused.status()).isEqualTo(2);
        assertThat(refused.err()).contains("has no generation_config.json");
    }

    @Test
    void whatIsMoreThanATextNeedsAFile() {
        for (Object[] more : new Object[][] {{"--log-probs"}, {"--temperature", 1, "--n", 2}}) {
            Cli.Result result = Cli.run(with(new Object[] {"generate", "--model", LLAMA, "--prompt", "a"}, more));

            assertThat(result.status()).isEqualTo(2);
            assertThat(result.err()).contains(more.length == 1 ? "--log-probs needs --out" : "--n 2 needs --out");
        }
    }

    @Test
    void drawsRepeatWithTheirSeed() {
        Object[] call = {
            "generate",
            "--model",
            LLAMA,
            "--prompt",
            "the list",
            "--max-new-tokens",
            20,
            "--temperature",
            1.5,
            "--top-k",
            50,
            "--top-p",
            0.95,
            "--seed"
        };

        assertThat(done(with(call, 1)).out()).isEqualTo(done(with(call, 1)).out());
        assertThat(done(with(call, 1)).out()).isNotEqualTo(done(with(call, 2)).out());
    }

    @Test
    void aPromptIsNeverCut() throws IOException {
        String prompt =
                "the list of mail and the url of you ".repeat(4).strip(); // 32 positions, an adapter for 32 tokens
        Object[] call = {"generate", "--model", LLAMA, "--adapter", adapter, "--prompt", prompt, "--max-new-tokens", 3};

        Cli.Result result = done(call);
        assertThat(result.err())
                .startsWith("note: a text has more than 32 positions, for which the model was made")
                .hasLineCount(1);

        Cli.Result refused = Cli.run(with(call, "--max-length", 16, "--out", temporary.resolve("out.jsonl")));
        assertThat(refused.status()).isEqualTo(2);
        assertThat(refused.err())
                .matches(
                        "peft4j: prompt 1 of 1: a prompt must have at most 16 tokens \\(max_length\\), has \\d+; .*\\n");
        assertThat(temporary.resolve("out.jsonl")).doesNotExist();
    }

    // Embeddings.

    @Test
    void embedAddsAVectorToEachRow() throws IOException {
        Path data = Cli.write(temporary.resolve("rows.csv"), "body,n\nspam from your list,1\n\"the url\",2\n");
        Object[] call = {"embed", "--model", Fixtures.TINY_BERT, "--data", data, "--text", "body", "--out"};
        Path out = temporary.resolve("out.jsonl");

        assertThat(done(with(call, out)).err()).isEqualTo("2 rows\n");
        List<JsonNode> rows = rows(out);
        assertThat(rows.get(1).get("body").asText()).isEqualTo("the url");
        assertThat(rows.get(0).get("embedding")).hasSize(32);
        assertThat(length(rows.get(0)))
                .as("not normalised unless it is asked for")
                .isGreaterThan(1.1);

        List<JsonNode> normalized =
                rows(done(with(call, "-", "--normalize", "--batch-size", 1)).out());
        for (int i = 0; i < 2; i++) {
            assertThat(length(normalized.get(i))).isCloseTo(1, within(1e-5));
            assertThat(normalized.get(i).get("embedding").get(3).asDouble() * length(rows.get(i)))
                    .isCloseTo(rows.get(i).get("embedding").get(3).asDouble(), within(1e-4));
        }
        assertThat(rows(done(with(call, "-", "--pooling", "first")).out())
                        .get(0)
                        .get("embedding"))
                .isNotEqualTo(rows.get(0).get("embedding"));
    }

    private static double length(JsonNode row) {
        double sum = 0;
        for (JsonNode value : row.get("embedding")) {
            sum += value.asDouble() * value.asDouble();
        }
        return Math.sqrt(sum);
    }

    @Test
    void whatATrainedEmbedderSavesIsTheDefault() throws IOException {
        TaskRuns task = TaskRuns.cosinesOfLastRows();
        Path run = task.trained(temporary, "run", "task.normalize=true");

        Cli.Result result =
                done("embed", "--model", LLAMA, "--adapter", run, "--data", task.data(temporary), "--out", "-");

        assertThat(rows(result.out()))
                .hasSize(TaskRuns.ROWS)
                .allSatisfy(row -> assertThat(length(row)).isCloseTo(1, within(1e-5)));
        assertThat(Files.readString(run.resolve("peft4j.json"))).contains("\"pooling\": \"last\"");
    }

    // Tags, several labels, numbers.

    @Test
    void aTaggerPredictsATagForEachWord() throws IOException {
        TaskRuns task = TaskRuns.tagging();
        Path run = task.trained(temporary, "run");
        Path data = Cli.write(
                temporary.resolve("new.jsonl"),
                "{\"words\": [\"spam\", \"list\", \"\"], \"tags\": [\"mine\"]}\n{\"words\": [\"you\"]}\n");

        List<JsonNode> rows =
                rows(done("predict", "--model", task.model(), "--adapter", run, "--data", data, "--out", "-")
                        .out());

        assertThat(rows.get(0).get("input_tags")).hasSize(1);
        assertThat(rows.get(0).get("tags")).hasSize(3);
        assertThat(rows.get(0).get("tags").get(0).asText()).isIn("O", "B-X", "I-X");
        assertThat(rows.get(0).get("tags").get(2).isNull())
                .as("a word without a token")
                .isTrue();
        assertThat(rows.get(1).get("tags")).hasSize(1);
    }

    @Test
    void taggersReadAndPredictSentencesOfConll() throws IOException {
        TaskRuns task = TaskRuns.tagging();
        Path run = task.trained(temporary, "run");
        Path data = Cli.write(temporary.resolve("new.conll"), "spam B-X\nlist I-X\n\nyou O\n");
        Object[] call = {"--model", task.model(), "--adapter", run, "--data", data};

        JsonNode metrics = TaskRuns.JSON.readTree(
                done(with(new Object[] {"evaluate"}, call)).out());
        List<JsonNode> rows = rows(
                done(with(with(new Object[] {"predict"}, call), "--out", "-")).out());

        assertThat(metrics.get("examples").asInt()).isEqualTo(2);
        assertThat(metrics.has("entity_f1")).isTrue();
        assertThat(rows).hasSize(2);
        assertThat(rows.get(0).get("tags")).hasSize(2);
    }

    @Test
    void severalLabelsAreAList() throws IOException {
        TaskRuns task = TaskRuns.multiLabel();
        Path run = task.trained(temporary, "run");

        Cli.Result result = done(
                "predict", "--model", task.model(), "--adapter", run, "--data", task.data(temporary), "--out", "-");

        assertThat(result.err()).startsWith("8 rows: {a=");
        assertThat(rows(result.out())).hasSize(8).allSatisfy(row -> {
            List<String> likely = new ArrayList<>();
            for (int c = 0; c < 3; c++) {
                if (row.get("probabilities").get(c).asDouble() > 0.5) {
                    likely.add(List.of("a", "b", "c").get(c));
                }
            }
            assertThat(row.get("label").isArray()).isTrue();
            assertThat(row.get("label")).extracting(JsonNode::asText).containsExactlyElementsOf(likely);
            assertThat(row.get("input_label").isArray()).isTrue();
        });
    }

    @Test
    void aRegressionIsANumber() throws IOException {
        TaskRuns task = TaskRuns.regression();
        Path run = task.trained(temporary, "run");
        Path data = task.data(temporary);

        List<JsonNode> rows =
                rows(done("predict", "--model", task.model(), "--adapter", run, "--data", data, "--out", "-")
                        .out());
        JsonNode metrics =
                TaskRuns.JSON.readTree(done("evaluate", "--model", task.model(), "--adapter", run, "--data", data)
                        .out());

        double squares = 0;
        for (JsonNode row : rows) {
            assertThat(row.get("label").isNumber()).isTrue();
            assertThat(row.has("probabilities")).isFalse();
            squares += Math.pow(
                    row.get("label").asDouble() - row.get("input_label").asDouble(), 2);
        }
        assertThat(squares / rows.size())
                .isCloseTo(metrics.get("mean_squared_error").asDouble(), within(1e-5 * squares));
    }

    // Calls that are wrong.

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--prompt a --stop EMPTY           | a stop string must have at least one character",
                "--prompt a --temperature -0.1     | temperature must be 0 (the likeliest token) or a number above it, got -0.1",
                "--prompt a --temperature NaN      | temperature must be 0 (the likeliest token) or a number above it, got NaN",
                "--prompt a --top-k -1             | top_k must be 0",
                "--prompt a --top-p 0              | top_p must be above 0",
                "--prompt a --top-p 1.5            | top_p must be above 0",
                "--prompt a --max-new-tokens 0     | max_new_tokens must be at least 1, got 0",
                "--prompt a --min-p 2              | min_p must be from 0",
                "--prompt a --repetition-penalty 0 | repetition_penalty must be above 0",
                "--prompt a --n 2                  | n must be 1 where the likeliest tokens are taken",
                "--prompt a --beams 0              | num_beams must be at least 2",
                "--prompt a --beams 2 --n 3        | n must be at most num_beams",
                "--prompt a --beams 2 --top-k 3    | top_k beside num_beams",
                "--prompt a --length-penalty 2     | length_penalty is of a beam search",
                "--prompt a --beams 2 --early-stopping soon | --early-stopping must be one of [yes, no, never], got 'soon'",
                "--prompt a --generation-config --temperature 1 --n 2 --cache-mb 0 | --cache-mb must be at least 1",
                "--prompt a --data rows.jsonl      | give --prompt or --data, one of them",
                "--max-new-tokens 3                | give --prompt or --data, one of them",
                "--prompt a --batch-size 0         | --batch-size must be at least 1, got 0",
                "--prompt a --labels a,b           | labels",
            })
    void generateRefusesWrongOptions(String options, String message) throws IOException {
        List<Object> call = new ArrayList<>(List.of("generate", "--model", LLAMA, "--out", temporary.resolve("out")));
        for (String word : options.split(" ")) {
            call.add(word.equals("EMPTY") ? "" : word);
        }

        Cli.Result result = Cli.run(call.toArray());

        assertThat(result.status()).as(result.err()).isEqualTo(2);
        assertThat(result.err()).startsWith("peft4j: ").contains(message).doesNotContain("\tat ");
        assertThat(result.out()).isEmpty();
        assertThat(Cli.files(temporary)).isEmpty();
    }

    @Test
    void dataNeedsAnOutput() throws IOException {
        Path data = Cli.write(temporary.resolve("rows.jsonl"), "{\"prompt\": \"a\"}\n");

        Cli.Result result = Cli.run("generate", "--model", LLAMA, "--data", data);

        assertThat(result.status()).isEqualTo(2);
        assertThat(result.err()).contains("--data needs --out");
    }

    @Test
    void aRowWithoutAPromptIsToldByItsLine() throws IOException {
        Path data = Cli.write(
                temporary.resolve("rows.jsonl"), "{\"prompt\": \"a\", \"response\": \"b\"}\n{\"promt\": \"a\"}\n");
        for (String command : List.of("generate", "score")) {
            Cli.Result result = Cli.run(command, "--model", LLAMA, "--data", data, "--out", temporary.resolve("out"));

            assertThat(result.status()).as(command).isEqualTo(2);
            assertThat(result.err()).as(command).contains("rows.jsonl: line 2: ");
            assertThat(temporary.resolve("out")).doesNotExist();
        }
    }
}
