package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;

/** Signals to a process of its own. */
@EnabledOnOs(OS.LINUX)
@Timeout(120)
class InterruptTest {
    @TempDir
    Path temporary;

    private @Nullable Process process;

    /** What stands for training that takes long: says that it began, and never ends. */
    static final class Stuck {
        public static void main(String[] args) throws InterruptedException {
            GracefulStop stop = new GracefulStop(System.out); // never closed
            stop.started(null);
            System.out.println("began");
            Thread.sleep(TimeUnit.MINUTES.toMillis(5));
        }
    }

    @AfterEach
    void end() {
        if (process != null) {
            process.destroyForcibly();
        }
    }

    @ParameterizedTest
    @CsvSource({"INT, 130", "TERM, 143"})
    void trainingEndsAfterTheStepWithItsAdapterSaved(String signal, int status) throws Exception {
        Path config = Cli.runFile(temporary);
        List<String> lines = new ArrayList<>();
        try (BufferedReader out = start(
                Main.class,
                "train",
                "--config",
                config.toString(),
                "--set",
                "training.epochs=100000",
                "--set",
                "training.save_every=3")) {
            await(out, "step 8/", lines);
            signal(signal);
            out.lines().forEach(lines::add);
        }

        assertThat(process().waitFor()).as(String.join("\n", lines)).isEqualTo(status);
        assertThat(String.join("\n", lines)).contains("interrupted after ", "adapter   ", "report    ");
        Path run = temporary.resolve("run");
        assertThat(Cli.files(run))
                .containsExactly(
                        "adapter_config.json",
                        "adapter_model.safetensors",
                        "metrics.jsonl",
                        "peft4j.json",
                        "report.html",
                        "run.json");
        assertThat(run.resolve("run.json")).content().contains("\"interrupted\"");
        assertThat(Cli.run("evaluate", "--model", Fixtures.TINY_BERT, "--adapter", run, "--data", Cli.ROWS)
                        .status())
                .isZero();
    }

    @Test
    void secondCtrlCEndsAtOnce() throws Exception {
        List<String> lines = new ArrayList<>();
        try (BufferedReader out = start(Stuck.class)) {
            await(out, "began", lines);
            signal("INT");
            await(out, "stopping after this step", lines);
            assertThat(process().waitFor(500, TimeUnit.MILLISECONDS)).isFalse();
            signal("INT");
            assertThat(process().waitFor(30, TimeUnit.SECONDS)).isTrue();
        }
        assertThat(process().exitValue()).isEqualTo(130);
    }

    @Test
    void interruptedPredictionLeavesNothing() throws Exception {
        Path rows = temporary.resolve("rows.jsonl");
        Files.writeString(rows, "{\"text\": \"some words to classify\"}\n".repeat(2_000_000));
        Path out = temporary.resolve("out.jsonl");
        start(
                Main.class,
                "predict",
                "--model",
                Fixtures.TINY_BERT.toString(),
                "--adapter",
                Fixtures.ADAPTERS.resolve("lora-query-value").toString(),
                "--data",
                rows.toString(),
                "--out",
                out.toString());
        while (Cli.files(temporary).size() < 2) { // the temporary file
            assertThat(process().isAlive()).isTrue();
            Thread.sleep(20);
        }
        signal("INT");
        assertThat(process().waitFor()).isEqualTo(130);
        assertThat(Cli.files(temporary)).containsExactly("rows.jsonl");
    }

    private Process process() {
        if (process == null) {
            throw new IllegalStateException("not started");
        }
        return process;
    }

    /** Starts Java with SIGINT as a terminal's programs have it: a test in the background may have it ignored. */
    private BufferedReader start(Class<?> main, String... args) throws IOException {
        List<String> command = new ArrayList<>(List.of(
                "env",
                "--default-signal=INT",
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx512m",
                "-cp",
                System.getProperty("java.class.path"),
                main.getName()));
        command.addAll(List.of(args));
        process = new ProcessBuilder(command).redirectErrorStream(true).start();
        return process.inputReader(StandardCharsets.UTF_8);
    }

    private static void await(BufferedReader out, String begin, List<String> lines) throws IOException {
        for (String line = out.readLine(); line != null; line = out.readLine()) {
            lines.add(line);
            if (line.startsWith(begin)) {
                return;
            }
        }
        throw new AssertionError("ended before '" + begin + "':\n" + String.join("\n", lines));
    }

    private void signal(String name) throws Exception {
        new ProcessBuilder("kill", "-" + name, String.valueOf(process().pid()))
                .inheritIO()
                .start()
                .waitFor();
    }
}
