package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;

/** Each command on the tiny model, from its arguments to what it prints and writes. */
class CommandsTest {
    private static final JsonMapper JSON = new JsonMapper();
    private static final Path MODEL = Fixtures.TINY_BERT;

    @TempDir
    static Path shared;

    @TempDir
    Path temporary;

    private static Path adapter;
    private static Cli.Result trained;

    @BeforeAll
    static void train() throws IOException {
        trained = Cli.run("train", "--config", Cli.runFile(shared));
        adapter = shared.resolve("run");
    }

    @Test
    void trainPrintsSettingsThenProgressThenWhatCameOut() {
        assertThat(trained.err()).isEmpty();
        assertThat(trained.status()).isZero();
        List<String> lines = trained.out().lines().toList();
        assertThat(lines.get(0)).isEqualTo("model:");
        assertThat(lines).contains("  r: 4", "  labels: [ham, spam]", "  batch_size: 20", "output: " + adapter);
        assertThat(trained.out())
                .containsSubsequence(
                        "80 rows, 8 steps of 20 rows",
                        "step 2/8  loss ",
                        "step 4/8  loss ",
                        "validation after step 4: accuracy ",
                        "step 8/8  loss ",
                        "validation after step 8: accuracy ",
                        "trained 8 steps, ",
                        " tokens/s\n",
                        "accuracy  0.",
                        "adapter   " + adapter + "\n",
                        "report    " + adapter.resolve("report.html") + "\n",
                        "next\n",
                        "peft4j evaluate --model " + MODEL + " --adapter " + adapter + " --data " + Cli.ROWS);
        assertThat(adapter).isDirectoryContaining("glob:**adapter_model.safetensors");
        assertThat(adapter.resolve("report.html")).isNotEmptyFile();
    }

    @Test
    void printedSettingsAreARunFile() throws IOException {
        String settings = trained.out().substring(0, trained.out().indexOf("\n\n") + 1);
        Path file = Cli.write(temporary.resolve("again.yaml"), settings);

        Cli.Result again = Cli.run(
                "train",
                "--config",
                file,
                "--set",
                "training.max_steps=1",
                "--set",
                "output=" + temporary.resolve("out"));

        assertThat(again.err()).isEmpty();
        assertThat(again.status()).isZero();
        assertThat(again.out()).contains("  max_steps: 1\n", "trained 1 steps");
    }

    @Test
    void laterSetWinsAndOverwriteReplacesARun() throws IOException {
        Path file = Cli.runFile(temporary);
        Object[] call = {
            "train",
            "--config",
            file,
            "--set",
            "training.max_steps=2",
            "--set",
            "training.max_steps=1",
            "--overwrite",
            "--device",
            "cpu"
        };

        assertThat(Cli.run(call).out()).contains("  max_steps: 1\n", "  device: cpu\n", "trained 1 steps");
        assertThat(Cli.run(call).status()).isZero();
        assertThat(JSON.readTree(temporary.resolve("run/run.json").toFile()).at("/settings/model/device"))
                .isEqualTo(JSON.readTree("\"cpu\""));
        assertThat(Files.readAllLines(temporary.resolve("run/metrics.jsonl"))).hasSize(2); // a step, an evaluation
    }

    @Test
    void evaluatePrintsMetricsAsJson() throws IOException {
        Cli.Result result = Cli.run("evaluate", "--model", MODEL, "--adapter", adapter, "--data", Cli.ROWS);

        assertThat(result.err()).isEqualTo("note: 80 of 80 texts were cut to 32 tokens (--max-length)\n");
        assertThat(result.status()).isZero();
        JsonNode metrics = JSON.readTree(result.out());
        assertThat(metrics.get("examples").asInt()).isEqualTo(80);
        assertThat(metrics.get("labels").toString()).isEqualTo("[\"ham\",\"spam\"]");
        String last = Files.readAllLines(adapter.resolve("metrics.jsonl")).get(9);
        assertThat(metrics.get("accuracy")).isEqualTo(JSON.readTree(last).get("accuracy"));
        assertThat(metrics.get("cut").asInt()).isPositive();
    }

    @Test
    void predictRepeatsEachRowAndAddsLabelAndLogits() throws IOException {
        Path data = Cli.write(temporary.resolve("rows.jsonl"), """
                {"id": 1, "text": "cheap pills, buy now", "price": 1.10, "tags": ["a", null], "größe": true}

                {"id": 12345678901234567890, "text": "", "label": "spam", "logits": 3}
                """);
        Path out = temporary.resolve("out.jsonl");

        Cli.Result result = Cli.run(
                "predict", "--model", MODEL, "--adapter", adapter, "--data", data, "--out", out, "--batch-size", 1);

        assertThat(result.err()).startsWith("2 rows: {ham=");
        assertThat(result.out()).isEmpty();
        assertThat(result.status()).isZero();
        List<String> lines = Files.readAllLines(out);
        assertThat(lines).hasSize(2);
        assertThat(lines.get(0))
                .startsWith(
                        "{\"id\":1,\"text\":\"cheap pills, buy now\",\"price\":1.10,\"tags\":[\"a\",null],\"größe\":true,"
                                + "\"label\":\"");
        JsonNode second = JSON.readTree(lines.get(1));
        assertThat(second.get("id").asText()).isEqualTo("12345678901234567890");
        assertThat(second.get("input_label").asText()).isEqualTo("spam");
        assertThat(second.get("input_logits").asInt()).isEqualTo(3);
        assertThat(second.get("label").asText()).isIn("ham", "spam");
        assertThat(second.get("logits")).hasSize(2);
        assertThat(Cli.files(temporary)).containsExactly("out.jsonl", "rows.jsonl");
    }

    @Test
    void predictGivesTheSameLogitsForEveryBatchSizeAndKeepsTheOrder() throws IOException {
        List<String> one = predictions(1);
        List<String> many = predictions(32);

        assertThat(one).hasSize(80);
        for (int i = 0; i < 80; i++) {
            JsonNode a = JSON.readTree(one.get(i));
            JsonNode b = JSON.readTree(many.get(i));
            assertThat(a.get("text")).isEqualTo(b.get("text"));
            for (int c = 0; c < 2; c++) {
                assertThat(a.get("logits").get(c).floatValue())
                        .isCloseTo(b.get("logits").get(c).floatValue(), org.assertj.core.api.Assertions.within(1e-5f));
            }
        }
    }

    private static List<String> predictions(int batch) {
        return Cli.run(
                        "predict",
                        "--model",
                        MODEL,
                        "--adapter",
                        adapter,
                        "--data",
                        Cli.ROWS,
                        "--out",
                        "-",
                        "--batch-size",
                        batch)
                .out()
                .lines()
                .toList();
    }

    @Test
    void csvRowsWithOtherColumnsWork() throws IOException {
        Path data = Cli.write(temporary.resolve("rows.csv"), "body,class\n\"hello, you\",ham\nbuy now,spam\n");
        Object[] model = {"--model", MODEL, "--adapter", adapter, "--data", data, "--text", "body"};

        Cli.Result evaluation = Cli.run(concat("evaluate", model, "--label", "class", "--dtype", "bfloat16"));
        Cli.Result prediction = Cli.run(concat("predict", model, "--out", "-", "--max-length", "8"));

        assertThat(evaluation.err()).isEmpty();
        assertThat(evaluation.out()).contains("\"examples\" : 2");
        assertThat(prediction.out()).startsWith("{\"body\":\"hello, you\",\"class\":\"ham\",\"label\":\"");
    }

    private static Object[] concat(String command, Object[] middle, Object... end) {
        List<Object> all = new java.util.ArrayList<>(List.of(command));
        all.addAll(List.of(middle));
        all.addAll(List.of(end));
        return all.toArray();
    }

    @Test
    void mergedModelPredictsAsModelWithAdapter() throws IOException {
        Path merged = temporary.resolve("merged");

        Cli.Result result = Cli.run("merge", "--model", MODEL, "--adapter", adapter, "--out", merged);

        assertThat(result.err()).isEqualTo("wrote the merged model to " + merged + "\n");
        assertThat(result.status()).isZero();
        Cli.Result plain = Cli.run("predict", "--model", merged, "--data", Cli.ROWS, "--out", "-", "--max-length", 32);
        List<String> expected = predictions(16);
        List<String> lines = plain.out().lines().toList();
        assertThat(lines).hasSize(80);
        for (int i = 0; i < 80; i++) {
            JsonNode a = JSON.readTree(lines.get(i));
            JsonNode b = JSON.readTree(expected.get(i));
            assertThat(a.get("logits").get(0).floatValue())
                    .isCloseTo(b.get("logits").get(0).floatValue(), org.assertj.core.api.Assertions.within(1e-4f));
        }
    }

    @Test
    void methodsShowsEveryMethodWithParametersForAModel() {
        Cli.Result plain = Cli.run("methods");
        Cli.Result counted = Cli.run("methods", "--model", MODEL);

        assertThat(plain.status()).isZero();
        assertThat(plain.out())
                .containsSubsequence(
                        "method",
                        "trains",
                        "merge",
                        "files",
                        "lora",
                        "prefix-tuning",
                        "\nprefix-tuning cannot be merged: ");
        assertThat(counted.out().lines().toList().get(0)).contains("parameters");
        assertThat(counted.out().lines().filter(line -> line.startsWith("lora ")))
                .singleElement()
                .asString()
                .containsPattern("\\d");
    }

    @Test
    void methodsSaysWhatAModelHasNothingFor() {
        Cli.Result counted = Cli.run("methods", "--model", "src/examples/data/stories260k");

        assertThat(counted.err()).isEmpty();
        assertThat(counted.out().lines().filter(line -> line.startsWith("bitfit ")))
                .singleElement()
                .asString()
                .contains("no biases to train");
        assertThat(counted.out()).contains("\nbottleneck ");
    }

    @Test
    void infoShowsVersionsAndKernels() {
        Cli.Result result = Cli.run("info");

        assertThat(result.err()).isEmpty();
        assertThat(result.status()).isZero();
        assertThat(result.out()).contains("version of pytorch", "device", "operation", "lora_linear", "attention");
    }

    @Test
    void benchGenerateComparesAdaptersWithThePlainModel() throws IOException {
        Object[] call = {
            "bench",
            "generate",
            "--model",
            Fixtures.TINY_LLAMA,
            "--prompts",
            3,
            "--prompt-tokens",
            5,
            "--new-tokens",
            4,
            "--rounds",
            2
        };
        Cli.Result plain = Cli.run(call);
        Cli.Result adapted = Cli.run(Stream.of(call, new Object[] {"--adapters", 2, "--rank", 4})
                .flatMap(Arrays::stream)
                .toArray());

        assertThat(plain.status()).as(plain.err()).isZero();
        assertThat(plain.err())
                .contains("prefill_tokens_per_second", "decode_tokens_per_second")
                .doesNotContain("adapt");
        assertThat(TaskRuns.JSON.readTree(plain.out()).get("decode_seconds")).hasSize(2);
        assertThat(adapted.status()).as(adapted.err()).isZero();
        JsonNode json = TaskRuns.JSON.readTree(adapted.out());
        assertThat(json.get("adapters").asInt()).isEqualTo(2);
        for (String name : List.of(
                "adapted_prefill_tokens_per_second",
                "adapted_decode_tokens_per_second",
                "adapted_peak_of_a_round_mb",
                "adapted_decode_share",
                "peak_resident_mb")) {
            assertThat(json.get(name).asDouble()).as(name).isPositive();
        }
    }

    @Test
    void benchMethodsPrintsRowsAndReasons() throws IOException {
        Path json = temporary.resolve("methods.json");
        Path file = Files.writeString(
                temporary.resolve("wide.yaml"),
                "{model: " + Fixtures.TINY_BERT
                        + ", data: {train: none}, task: {max_length: 16}, method: {type: lora, r: 16,"
                        + " targets: all-linear}, output: "
                        + temporary.resolve("no") + "}");
        Object[] call = {
            "bench",
            "methods",
            "--model",
            Fixtures.TINY_BERT,
            "--data",
            Cli.ROWS,
            "--set",
            "task.max_length=16",
            "--set",
            "training.batch_size=4",
            "--rounds",
            1,
            "--steps",
            1,
            "--warmup",
            0,
            "--dropout",
            0
        };
        Cli.Result result = Cli.run(Stream.of(call, new Object[] {
                    "--methods", "dora,c3a,xlora", "--config", file, "--targets", "query", "--json", json
                })
                .flatMap(Arrays::stream)
                .toArray());

        assertThat(result.status()).as(result.err()).isZero();
        assertThat(result.out()).isEmpty();
        assertThat(result.err())
                .contains(
                        "dora (lora)",
                        "c3a with block_size",
                        "wide (lora)",
                        "of LoRA's",
                        "left out",
                        "xlora: adapters must");
        JsonNode rows = TaskRuns.JSON.readTree(json.toFile()).get("rows");
        assertThat(rows.findValuesAsText("name")).containsExactly("lora", "dora", "c3a", "wide");
        assertThat(rows.get(1).get("settings").get("targets").toString()).isEqualTo("[\"query\"]");
        assertThat(temporary.resolve("no")).doesNotExist();

        Cli.Result unknown = Cli.run(Stream.of(call, new Object[] {"--methods", "doora"})
                .flatMap(Arrays::stream)
                .toArray());
        assertThat(unknown.status()).isEqualTo(2);
        assertThat(unknown.err()).contains("methods: 'doora' is none; known: lora, rslora, dora");
        Cli.Result twice = Cli.run(Stream.of(call, new Object[] {"--config", file, "--config", file})
                .flatMap(Arrays::stream)
                .toArray());
        assertThat(twice.status()).isEqualTo(2);
        assertThat(twice.err()).contains("two files are called wide");
    }

    @Test
    void benchTrainPrintsATableAndJson() throws IOException {
        Path model = Cli.longModelWithoutHead(Files.createDirectory(temporary.resolve("model")));
        Path json = temporary.resolve("bench.json");
        Cli.Result result = Cli.run(
                "bench",
                "train",
                "--model",
                model,
                "--data",
                Cli.ROWS,
                "--steps",
                2,
                "--warmup",
                1,
                "--dropout",
                0,
                "--json",
                json);

        assertThat(result.status()).isZero();
        assertThat(result.out()).isEmpty();
        assertThat(result.err()).contains("tokens_per_second", "seconds_per_step", "peak_resident_mb");
        JsonNode plain = JSON.readTree(json.toFile());
        assertThat(plain.get("steps").asInt()).isEqualTo(2);
        assertThat(plain.get("memory")).isNotEmpty();

        Path run = Files.writeString(
                temporary.resolve("run.yaml"),
                "{model: {path: " + model + ", dropout: 0}, data: {train: " + Cli.ROWS + "}, method: {type: lora, r: 8,"
                        + " alpha: 16, targets: [query, value]}, task: {max_length: 256}, output: "
                        + temporary.resolve("no")
                        + "}");
        Cli.Result same = Cli.run(
                "bench",
                "train",
                "--config",
                run,
                "--set",
                "training.checkpointing=block",
                "--steps",
                2,
                "--warmup",
                1,
                "--json",
                json);
        assertThat(same.status()).as(same.err()).isZero();
        JsonNode recomputed = JSON.readTree(json.toFile());
        assertThat(recomputed.get("losses")).isEqualTo(plain.get("losses"));
        assertThat(recomputed.get("peak_of_a_step_mb").asDouble())
                .isLessThan(plain.get("peak_of_a_step_mb").asDouble());
        assertThat(recomputed.get("kept_for_backward_mb").asDouble())
                .isLessThan(plain.get("kept_for_backward_mb").asDouble());
        assertThat(temporary.resolve("no")).doesNotExist();

        Cli.Result ia3 = Cli.run(
                "bench", "train", "--model", model, "--data", Cli.ROWS, "--method", "ia3", "--steps", 1, "--warmup", 0);
        assertThat(ia3.status()).as(ia3.err()).isZero();
        assertThat(ia3.err()).doesNotContain("kept for backward, a token");
    }
}
