package org.peft4j.run.files;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.ConfigException;
import org.peft4j.run.RunResult.Status;
import org.peft4j.run.SampleRun;
import org.peft4j.run.StepMetrics;
import org.peft4j.train.Generation;

class RunDirectoryTest {
    @TempDir
    Path temporary;

    @Test
    void makesTheDirectoryWithItsParents() throws IOException {
        RunDirectory run = RunDirectory.create(temporary.resolve("a/b/c"), false);
        assertThat(run.path()).isDirectory();
        assertThat(run.checkpoint(120)).hasFileName("checkpoint-000120");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"run.json", "metrics.jsonl", "adapter_model.safetensors", "report.html", "checkpoint-000120"})
    void refusesADirectoryThatHoldsAnotherRunAndChangesNothing(String name) throws IOException {
        Path output = Files.createDirectory(temporary.resolve("run"));
        Files.writeString(output.resolve(name), "precious");

        assertThatThrownBy(() -> RunDirectory.create(output, false))
                .isInstanceOf(ConfigException.class)
                .hasMessage("output: " + output + " holds another run (" + name
                        + "); choose another directory, or replace it (--overwrite; in Java overwrite = true)");
        assertThat(output.resolve(name)).hasContent("precious");
    }

    @Test
    void theFirstSaveSweepsTheFormerRunAndNothingElse() throws IOException {
        Path output = Files.createDirectories(temporary.resolve("run"));
        Path outside = Files.writeString(temporary.resolve("outside.txt"), "precious");
        Files.createDirectories(output.resolve("checkpoint-000120/deep"));
        Files.writeString(output.resolve("checkpoint-000120/deep/state"), "x");
        Files.createSymbolicLink(output.resolve("checkpoint-000120/link"), outside);
        Files.createSymbolicLink(output.resolve("checkpoint-000130"), temporary);
        for (String name : List.of("run.json", "metrics.jsonl", "notes.txt", "checkpoint-mine", "model.safetensors")) {
            Files.writeString(output.resolve(name), "x");
        }

        Generation.write(1, output);

        RunDirectory run = RunDirectory.create(output, true);
        run.write(SampleRun.summary(output), null);

        assertThat(output.resolve("run.json")).as("until then all is as it was").hasContent("x");
        assertThat(output.resolve("checkpoint-000120/deep/state")).exists();
        assertThat(Generation.read(output)).isEqualTo(1);

        run.save(to -> Generation.write(2, to));

        try (var files = Files.list(output)) {
            assertThat(files.map(file -> file.getFileName().toString()))
                    .containsExactlyInAnyOrder(
                            "notes.txt",
                            "checkpoint-mine",
                            "model.safetensors",
                            "adapter_config.json",
                            "adapter_model.safetensors",
                            "peft4j.json",
                            "run.json");
        }
        assertThat(Generation.read(output)).isEqualTo(2);
        assertThat(output.resolve("run.json")).content().contains("settings");
        assertThat(outside).hasContent("precious");
    }

    @Test
    void refusesAFile() throws IOException {
        Path file = Files.writeString(temporary.resolve("file"), "x");
        assertThatThrownBy(() -> RunDirectory.create(file, true))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("is a file");
    }

    @Test
    void directoryWithForeignFilesIsUsed() throws IOException {
        Files.writeString(temporary.resolve("notes.txt"), "x");
        RunDirectory.create(temporary, false);
        assertThat(temporary.resolve("notes.txt")).exists();
    }

    @Test
    void runFileHasSettingsSeedVersionsMachineAndResult() throws IOException {
        RunDirectory run = RunDirectory.create(temporary.resolve("run"), false);
        run.write(SampleRun.summary(run.path()), null);
        JsonNode started = new ObjectMapper().readTree(run.runFile().toFile());
        assertThat(started.path("result").isNull()).isTrue();
        assertThat(started.path("finished").isNull()).isTrue();

        run.write(SampleRun.summary(run.path()), SampleRun.result(Status.FINISHED));

        JsonNode json = new ObjectMapper().readTree(run.runFile().toFile());
        assertThat(json.at("/settings/method/targets").toString()).isEqualTo("[\"query\",\"value\"]");
        assertThat(json.at("/settings/training/optimizer/learning_rate").asDouble())
                .isEqualTo(5e-4);
        assertThat(json.path("seed").asInt()).isZero();
        assertThat(json.at("/versions/pytorch").asText()).isEqualTo("2.13.0");
        assertThat(json.at("/machine/threads").asInt()).isPositive();
        assertThat(json.at("/machine/java").asText())
                .contains(String.valueOf(Runtime.version().feature()));
        assertThat(json.path("notes").toString()).isEqualTo("[\"two labels have one <name>\"]");
        assertThat(json.at("/result/status").asText()).isEqualTo("finished");
        assertThat(json.at("/result/tokens_per_second").asDouble()).isEqualTo(601_344 / 219.6);
    }

    @Test
    void metricsAreThereLineByLineWhileTheRunGoesOn() throws IOException {
        RunDirectory run = RunDirectory.create(temporary.resolve("run"), false);
        try (MetricsFile file = MetricsFile.append(run.metricsFile())) {
            file.write(SampleRun.step(1, new SplittableRandom(1)));
            assertThat(Files.readAllLines(run.metricsFile())).hasSize(1);
            file.write("validation", 1, SampleRun.evaluation(8));
        }
        try (MetricsFile again = MetricsFile.append(run.metricsFile())) {
            again.write(SampleRun.step(2, new SplittableRandom(1)));
        }

        List<String> lines = Files.readAllLines(run.metricsFile());
        assertThat(lines).hasSize(3);
        assertThat(new ObjectMapper().readTree(lines.get(0)).fieldNames())
                .toIterable()
                .containsExactly(
                        "step", "epoch", "loss", "lr", "grad_norm", "tokens", "tokens_per_second", "elapsed_seconds");
        JsonNode evaluation = new ObjectMapper().readTree(lines.get(1));
        assertThat(evaluation.path("evaluation").asText()).isEqualTo("validation");
        assertThat(evaluation.path("confusion").size()).isEqualTo(2);
        assertThat(evaluation.at("/classes/1/label").asText()).isEqualTo("spam");
    }

    @Test
    void lossThatIsNoNumberIsNullInTheFile() throws IOException {
        Path path = temporary.resolve("metrics.jsonl");
        try (MetricsFile file = MetricsFile.append(path)) {
            file.write(new StepMetrics(
                    1,
                    1,
                    Double.NaN,
                    java.util.Map.of("lora", 0.0),
                    Double.POSITIVE_INFINITY,
                    new StepMetrics.Speed(1, 1, 1)));
        }
        assertThat(Files.readString(path)).contains("\"loss\":null").contains("\"grad_norm\":null");
    }
}
