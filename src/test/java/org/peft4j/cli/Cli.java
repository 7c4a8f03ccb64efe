package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.peft4j.Fixtures;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;

/** Runs commands in this process, as {@link Main#main} would. */
final class Cli {
    static final Path ROWS = Fixtures.ROOT.resolve("loss-parity/tiny/rows.jsonl");

    /** What a command printed and how it ended. */
    record Result(int status, String out, String err) {}

    private Cli() {}

    /** The rows of JSON that a call wrote to standard output, which has to have gone well. */
    static List<JsonNode> lines(Result result) throws IOException {
        assertThat(result.status()).as(result.err()).isZero();
        List<JsonNode> lines = new ArrayList<>();
        for (String line : result.out().lines().toList()) {
            lines.add(TaskRuns.JSON.readTree(line));
        }
        return lines;
    }

    static Result run(Object... args) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        int status = Main.run(
                new Main(
                        new PrintStream(out, true, StandardCharsets.UTF_8),
                        new PrintStream(err, true, StandardCharsets.UTF_8),
                        StandardCharsets.UTF_8,
                        false),
                Stream.of(args).map(Object::toString).toArray(String[]::new));
        return new Result(status, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    /** The same with this on the standard input. */
    static Result piped(String input, Object... args) {
        InputStream former = System.in;
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        try {
            return run(args);
        } finally {
            System.setIn(former);
        }
    }

    /** A run file for the tiny model: 2 epochs of 4 steps. */
    static Path runFile(Path directory, String... lines) throws IOException {
        return Files.writeString(
                directory.resolve("run.yaml"),
                """
                model: {path: %s, dropout: 0}
                task: {type: sequence-classification, labels: [ham, spam], max_length: 32}
                data: {train: %s, validation: %s}
                method: {type: lora, r: 4, alpha: 8, targets: [query, value]}
                training: {epochs: 2, batch_size: 20, log_every: 2}
                output: %s
                """.formatted(Fixtures.TINY_BERT, ROWS, ROWS, directory.resolve("run")) + String.join("\n", lines));
    }

    /** A copy of the tiny model without its classifier, for at most 256 tokens instead of 64. */
    static Path longModelWithoutHead(Path directory) throws IOException {
        for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
            Files.copy(Fixtures.TINY_BERT.resolve(name), directory.resolve(name));
        }
        String config = Files.readString(Fixtures.TINY_BERT.resolve("config.json"));
        Files.writeString(
                directory.resolve("config.json"),
                config.replace("\"max_position_embeddings\": 64", "\"max_position_embeddings\": 256"));
        Map<String, TensorData> tensors =
                new LinkedHashMap<>(Fixtures.read(Fixtures.TINY_BERT.resolve("model.safetensors")));
        tensors.keySet().removeIf(name -> name.startsWith("classifier"));
        tensors.computeIfPresent("bert.embeddings.position_embeddings.weight", (name, positions) -> {
            ByteBuffer four = ByteBuffer.allocate(4 * positions.bytes().remaining());
            for (int i = 0; i < 4; i++) {
                four.put(positions.bytes());
            }
            return new TensorData(name, positions.dtype(), List.of(256L, 32L), four.flip());
        });
        SafeTensors.write(directory.resolve("model.safetensors"), Map.of("format", "pt"), tensors.values());
        return directory;
    }

    /** Everything below a directory, by relative name. */
    static List<String> files(Path directory) throws IOException {
        try (Stream<Path> files = Files.walk(directory)) {
            return List.copyOf(new TreeSet<>(files.filter(file -> !file.equals(directory))
                    .map(file -> directory.relativize(file).toString())
                    .toList()));
        }
    }

    static Path write(Path file, String text) throws IOException {
        return Files.writeString(file, text);
    }
}
