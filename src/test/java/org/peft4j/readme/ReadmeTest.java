package org.peft4j.readme;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;
import org.peft4j.TextClassifier;
import org.peft4j.Trainer;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunResult;

/** Each piece of Java in the README, and on the page on composing adapters, is code of a class here, and runs. */
class ReadmeTest {
    private static final Path SOURCES = Path.of("src/test/java/org/peft4j/readme");
    private static final Path STORIES = Path.of("src/examples/data/stories260k");
    private static final Path SHAKESPEARE = Path.of("src/examples/data/shakespeare");

    @TempDir
    Path directory;

    private List<String> mails;
    private Path model;

    @BeforeEach
    void aModelAndSomeMails() throws IOException {
        mails = Files.readAllLines(Path.of("src/examples/data/spamassassin/validation.jsonl"));
        Files.write(directory.resolve("train.jsonl"), mails.subList(0, 64));
        Files.write(directory.resolve("validation.jsonl"), mails.subList(64, 80));
        Files.write(directory.resolve("test.jsonl"), mails.subList(80, 96));
        model = directory.resolve("model");
        copyWithMorePositions(model);
    }

    @Test
    void trainingRuns() throws Exception {
        assertThat(SpamFilter.run(model, directory, directory.resolve("run"))).isIn("ham", "spam");
        assertThat(directory.resolve("run/report.html")).isNotEmptyFile();
        assertThat(directory.resolve("run/adapter_model.safetensors")).isNotEmptyFile();
    }

    @Test
    void rowsFromMemoryRun() throws Exception {
        assertThat(printed(() -> FromMemory.run(model, rows(0, 32), rows(32, 48), directory.resolve("run"))))
                .containsPattern("0\\.\\d+\\R(ham|spam) \\[0\\.\\d+, 0\\.\\d+] Dinner at eight\\?");
    }

    private interface Program {
        void run() throws Exception;
    }

    private static String printed(Program program) throws Exception {
        PrintStream out = System.out;
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
        try {
            program.run();
        } finally {
            System.setOut(out);
        }
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void manyAdaptersRun() throws Exception {
        List<String> names = List.of("anna", "ben", "clara");
        for (String name : names) {
            Trainer.train(config(directory.resolve(name), names.indexOf(name)));
        }
        List<String> texts = rows(0, 24).map(row -> row.get("text")).toList();
        List<String> expected = new ArrayList<>();
        for (int i = 0; i < texts.size() + 3; i++) {
            try (TextClassifier alone = TextClassifier.open(model, directory.resolve(names.get(i % 3)))) {
                expected.add(alone.predict(texts.get(i % texts.size())).label());
            }
        }
        assertThat(ManyAdapters.run(model, directory, texts)).isEqualTo(expected);
    }

    @Test
    void adaptersTogetherRun() throws Exception {
        for (String name : List.of("lang", "task")) {
            Trainer.train(config(directory.resolve(name), name.length()));
        }
        assertThat(printed(() -> Together.run(model, directory))).matches("(ham|spam)\\R");
        assertThat(printed(() -> Apart.run(model, directory))).matches("(ham|spam)\\R(ham|spam)\\R");
    }

    @Test
    void generationRuns() throws Exception {
        Path adapter = directory.resolve("run");
        Trainer.train(RunConfig.builder()
                .model(STORIES)
                .task(CausalLmConfig.defaults())
                .data(new DataConfig(SHAKESPEARE.resolve("validation.jsonl"), null))
                .method(LoraConfig.builder().targets("q_proj", "v_proj").build())
                .training(TrainingConfig.builder().batchSize(4).maxSteps(1).build())
                .output(adapter)
                .build());
        assertThat(printed(() -> Storyteller.run(STORIES, adapter))).hasSizeGreaterThan(20);
    }

    @Test
    void theTalkRuns() throws Exception {
        Path adapter = directory.resolve("run");
        Trainer.train(RunConfigFile.read(
                Path.of("src/examples/chat-lora.yaml"),
                List.of("training.max_steps=1", "data.validation=null", "output=" + adapter)));
        assertThat(printed(() -> Talker.run(STORIES, adapter))).contains("role=user", "And the dog?");
    }

    @Test
    void theRunInTheBackgroundStops() throws Exception {
        assertThat(InTheBackground.run(config(directory.resolve("run"), 0))).isEqualTo(RunResult.Status.INTERRUPTED);
    }

    private RunConfig config(Path output, long seed) {
        return RunConfig.builder()
                .model(model)
                .data(new DataConfig(directory.resolve("train.jsonl"), null))
                .method(LoraConfig.builder().targets("query", "value").build())
                .training(TrainingConfig.builder()
                        .learningRate(0.01)
                        .seed(seed)
                        .maxSteps(3)
                        .build())
                .output(output)
                .build();
    }

    private Stream<Map<String, String>> rows(int from, int to) throws IOException {
        List<Map<String, String>> rows = new ArrayList<>();
        var json = new com.fasterxml.jackson.databind.ObjectMapper();
        for (String line : mails.subList(from, to)) {
            var row = json.readTree(line);
            rows.add(Map.of(
                    "text", row.get("text").asText(), "label", row.get("label").asText()));
        }
        return rows.stream();
    }

    // The tiny model has 64 positions and the README's program the default of 256 tokens: it gets a longer table.
    private static void copyWithMorePositions(Path to) throws IOException {
        Files.createDirectories(to);
        for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
            Files.copy(Fixtures.TINY_BERT.resolve(name), to.resolve(name));
        }
        String config = Files.readString(Fixtures.TINY_BERT.resolve("config.json"));
        Files.writeString(
                to.resolve("config.json"),
                config.replaceAll("\"max_position_embeddings\": \\d+", "\"max_position_embeddings\": 256"));
        var tensors = new LinkedHashMap<>(Fixtures.read(Fixtures.TINY_BERT.resolve("model.safetensors")));
        String table = "bert.embeddings.position_embeddings.weight";
        var old = tensors.get(table);
        int hidden = old.shape().get(1).intValue();
        float[] values = java.util.Arrays.copyOf(old.toFloats(), 256 * hidden);
        tensors.put(table, TensorData.ofFloats(table, List.of(256L, (long) hidden), values));
        SafeTensors.write(to.resolve("model.safetensors"), Map.of("format", "pt"), tensors.values());
    }

    @Test
    void thePagesShowThisCodeAndNoOther() throws Exception {
        List<String> shown = new ArrayList<>();
        for (Path page : List.of(Path.of("README.md"), MethodPages.PAGES.resolve("composing.md"))) {
            Matcher blocks =
                    Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(Files.readString(page));
            while (blocks.find()) {
                shown.add(squeezed(blocks.group(1)));
            }
        }
        List<String> run = new ArrayList<>();
        try (Stream<Path> files = Files.list(SOURCES)) {
            for (Path file : files.toList()) {
                String code = Files.readAllLines(file).stream()
                        .dropWhile(line -> !line.strip().equals("// README begins"))
                        .skip(1)
                        .takeWhile(line -> !line.strip().equals("// README ends"))
                        .collect(Collectors.joining("\n"));
                if (!code.isEmpty()) {
                    run.add(squeezed(asShown(code)));
                }
            }
        }
        assertThat(shown).containsExactlyInAnyOrderElementsOf(run);
    }

    /** What the classes hand to the test, the README prints. */
    private static String asShown(String code) {
        return code.replaceAll("return (.*);", "System.out.println($1);")
                .replaceAll("said\\.add\\((.*)\\)", "System.out.println($1)");
    }

    private static String squeezed(String text) {
        return text.replaceAll("\\s+", "");
    }
}
