package org.peft4j.readme;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;

/** The README's Java is the code of {@link SpamFilter}, and runs. */
class ReadmeTest {
    @TempDir
    Path directory;

    @Test
    void theReadmesJavaRuns() throws Exception {
        List<String> mails = Files.readAllLines(Path.of("src/examples/data/spamassassin/validation.jsonl"));
        Files.write(directory.resolve("train.jsonl"), mails.subList(0, 64));
        Files.write(directory.resolve("validation.jsonl"), mails.subList(64, 80));
        Files.write(directory.resolve("test.jsonl"), mails.subList(80, 96));
        Path model = directory.resolve("model");
        copyWithMorePositions(model);
        assertThat(SpamFilter.run(model, directory, directory.resolve("run"))).isIn("ham", "spam");
        assertThat(directory.resolve("run/report.html")).isNotEmptyFile();
        assertThat(directory.resolve("run/adapter_model.safetensors")).isNotEmptyFile();
    }

    // The tiny model has 64 positions and the README's program the default of 256 tokens: it gets a longer table.
    private static void copyWithMorePositions(Path to) throws Exception {
        Files.createDirectories(to);
        for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
            Files.copy(Fixtures.TINY_BERT.resolve(name), to.resolve(name));
        }
        String config = Files.readString(Fixtures.TINY_BERT.resolve("config.json"));
        Files.writeString(
                to.resolve("config.json"),
                config.replaceAll("\"max_position_embeddings\": \\d+", "\"max_position_embeddings\": 256"));
        var tensors = new java.util.LinkedHashMap<>(Fixtures.read(Fixtures.TINY_BERT.resolve("model.safetensors")));
        String table = "bert.embeddings.position_embeddings.weight";
        var old = tensors.get(table);
        int hidden = old.shape().get(1).intValue();
        float[] values = java.util.Arrays.copyOf(old.toFloats(), 256 * hidden);
        tensors.put(table, org.peft4j.io.safetensors.TensorData.ofFloats(table, List.of(256L, (long) hidden), values));
        org.peft4j.io.safetensors.SafeTensors.write(
                to.resolve("model.safetensors"), java.util.Map.of("format", "pt"), tensors.values());
    }

    @Test
    void theReadmeShowsThatCode() throws Exception {
        assertThat(squeezed(Files.readString(Path.of("README.md"))))
                .contains(
                        squeezed(
                                Files.readAllLines(Path.of("src/test/java/org/peft4j/readme/SpamFilter.java")).stream()
                                        .dropWhile(line -> !line.contains("README begins"))
                                        .skip(1)
                                        .takeWhile(line -> !line.contains("README ends"))
                                        .collect(Collectors.joining("\n"))
                                        .replace(
                                                "return filter.predict(\"You have won 1,000,000 dollars! Reply now.\").label();",
                                                "System.out.println(filter.predict(\"You have won 1,000,000 dollars! Reply now.\").label());")));
    }

    private static String squeezed(String text) {
        return text.replaceAll("\\s+", "");
    }
}
