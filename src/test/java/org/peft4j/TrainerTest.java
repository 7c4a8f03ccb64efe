package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.config.DataConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.Schedule;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.error.TrainingException;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.FileChangePoints;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.metrics.Evaluation;
import org.peft4j.run.RunResult;
import org.peft4j.run.RunResult.Status;
import org.peft4j.run.RunSummary;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.TrainListener;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.train.Generation;

/** Numbers of a run, and its lifetime: what is on disk whenever it ends, however it ends. */
@Timeout(300)
class TrainerTest {
    private static final Path ROWS = Fixtures.ROOT.resolve("loss-parity/tiny/rows.jsonl");
    private static final TrainListener SILENT = new TrainListener() {};

    @TempDir
    Path temporary;

    @AfterEach
    void clear() {
        Thread.interrupted();
    }

    private Path output() {
        return temporary.resolve("run");
    }

    /** Four steps, with an evaluation behind the second and the last. */
    private RunConfig config(Path output, UnaryOperator<TrainingConfig.Builder> training) {
        return config(ROWS, output, 0, training);
    }

    private static RunConfig config(
            Path rows, Path output, double dropout, UnaryOperator<TrainingConfig.Builder> training) {
        return RunConfig.builder()
                .model(ModelConfig.of(Fixtures.TINY_BERT).withDropout(ModelConfig.Dropout.OFF))
                .task(SequenceClassificationConfig.builder()
                        .labels("ham", "spam")
                        .maxLength(32)
                        .build())
                .data(new DataConfig(rows, rows))
                .method(LoraConfig.builder()
                        .r(2)
                        .dropout(dropout)
                        .targets("query", "value")
                        .build())
                .training(training.apply(TrainingConfig.builder().batchSize(20).evaluateEvery(2))
                        .build())
                .output(output)
                .build();
    }

    private RunConfig config() {
        return config(output(), training -> training);
    }

    private static JsonNode run(Path output) throws IOException {
        return new ObjectMapper().readTree(output.resolve("run.json").toFile());
    }

    private static Map<String, TensorData> adapter(Path output) throws IOException {
        assertThat(AdapterSettings.read(output)).isPresent();
        return AdapterFiles.read(output).tensors();
    }

    /** Every file of a directory with its bytes, as text. */
    private static Map<String, String> content(Path directory) throws IOException {
        Map<String, String> content = new TreeMap<>();
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                content.put(
                        directory.relativize(file).toString(),
                        Files.readString(file, java.nio.charset.StandardCharsets.ISO_8859_1));
            }
        }
        return content;
    }

    private static List<String> names(Path directory) throws IOException {
        if (!Files.exists(directory)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    // Numbers.

    @Test
    void batchesOfFourAndOneAccumulatedAreOneBatchOfFive() throws Exception {
        Path rows = temporary.resolve("rows.jsonl");
        Files.write(rows, Files.readAllLines(ROWS).subList(0, 5));
        List<Double> whole = new ArrayList<>();
        List<Double> parts = new ArrayList<>();
        UnaryOperator<TrainingConfig.Builder> fourSteps =
                training -> training.epochs(4).shuffle(false).learningRate(0.01).evaluateEvery(0);
        Trainer.train(
                config(
                        rows,
                        temporary.resolve("whole"),
                        0,
                        training -> fourSteps.apply(training).batchSize(5)),
                false,
                losses(whole));
        Trainer.train(
                config(
                        rows,
                        temporary.resolve("parts"),
                        0,
                        training -> fourSteps.apply(training).batchSize(4).gradientAccumulation(2)),
                false,
                losses(parts));
        assertThat(parts).hasSize(4);
        for (int i = 0; i < 4; i++) {
            assertThat(parts.get(i)).as("loss of step " + (i + 1)).isCloseTo(whole.get(i), within(1e-5));
        }
        Map<String, TensorData> expected = adapter(temporary.resolve("whole"));
        adapter(temporary.resolve("parts")).forEach((name, tensor) -> {
            float[] a = tensor.toFloats();
            float[] b = expected.get(name).toFloats();
            for (int i = 0; i < a.length; i++) {
                assertThat(a[i]).as(name).isCloseTo(b[i], within(1e-4f));
            }
        });
    }

    private static TrainListener losses(List<Double> seen) {
        return new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                seen.add(metrics.loss());
            }
        };
    }

    @Test
    void aDropoutThatDropsNothingIsRefusedBeforeAnythingIsWritten() {
        assertThatThrownBy(() -> Trainer.train(config(ROWS, output(), 0.001, training -> training)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("method.dropout", "0.001", "1/512");
        assertThat(output()).doesNotExist();
    }

    @Test
    void aLossThatIsNotFiniteNamesItsStepAndLeavesTheEarlierAdapter() throws Exception {
        RunConfig config = config(
                output(),
                training -> training.epochs(3).saveEvery(1).learningRate(1e30).maxGradNorm(0));
        assertThatThrownBy(() -> Trainer.train(config))
                .isInstanceOf(TrainingException.class)
                .hasMessageContainingAll("not finite", "step", "learning_rate");
        JsonNode run = run(output());
        assertThat(run.at("/result/status").asText()).isEqualTo("failed");
        if (Files.exists(output().resolve(AdapterFiles.TENSORS))) {
            adapter(output()).forEach((name, tensor) -> {
                for (float value : tensor.toFloats()) {
                    assertThat(value).as(name).isFinite();
                }
            });
        }
    }

    @Test
    void threadsTrainAtOnceAsOneAfterTheOther() throws Exception {
        Trainer.train(config(temporary.resolve("alone"), training -> training));
        ExecutorService threads = Executors.newFixedThreadPool(3);
        List<Future<RunResult>> runs = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            RunConfig config = config(temporary.resolve("together-" + i), training -> training);
            runs.add(threads.submit(() -> Trainer.train(config)));
        }
        threads.shutdown();
        byte[] expected = Files.readAllBytes(temporary.resolve("alone").resolve(AdapterFiles.TENSORS));
        for (int i = 0; i < 3; i++) {
            assertThat(runs.get(i).get().status()).isEqualTo(Status.FINISHED);
            assertThat(temporary.resolve("together-" + i).resolve(AdapterFiles.TENSORS))
                    .hasBinaryContent(expected);
        }
    }

    // What is on disk.

    @Test
    void theAdapterIsSavedBeforeEachEvaluation() throws Exception {
        List<String> events = new ArrayList<>();
        Trainer.train(config(), false, new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                events.add("step");
            }

            @Override
            public void saved(Path directory) {
                events.add("saved");
            }

            @Override
            public void evaluated(String split, long step, Evaluation evaluation) {
                events.add("evaluated");
            }
        });
        assertThat(events).containsExactly("step", "step", "saved", "evaluated", "step", "step", "saved", "evaluated");
        assertThat(names(output()))
                .containsExactly(
                        "adapter_config.json",
                        "adapter_model.safetensors",
                        "metrics.jsonl",
                        "peft4j.json",
                        "report.html",
                        "run.json");
    }

    /** The calls of a listener. */
    enum Call {
        STEP,
        SAVED,
        EVALUATED,
        FINISHED
    }

    private static TrainListener failing(Call at, Throwable failure) {
        return new TrainListener() {
            private void call(Call now) {
                if (now == at) {
                    TrainerTest.<RuntimeException>sneaky(failure);
                }
            }

            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                if (metrics.step() == 3) {
                    call(Call.STEP);
                }
            }

            @Override
            public void saved(Path directory) {
                call(Call.SAVED);
            }

            @Override
            public void evaluated(String split, long step, Evaluation evaluation) {
                call(Call.EVALUATED);
            }

            @Override
            public void finished(RunResult result) {
                call(Call.FINISHED);
            }
        };
    }

    @SuppressWarnings("unchecked")
    private static <T extends Throwable> void sneaky(Throwable failure) throws T {
        throw (T) failure;
    }

    @ParameterizedTest
    @EnumSource(Call.class)
    void aFailingListenerLosesNothing(Call call) throws Exception {
        Throwable failure = call == Call.STEP ? new AssertionError("listener") : new IllegalStateException("listener");
        assertThatThrownBy(() -> Trainer.train(config(), false, failing(call, failure)))
                .isSameAs(failure);
        assertThat(adapter(output())).isNotEmpty();
        assertThat(run(output()).at("/result/status").asText())
                .isEqualTo(call == Call.FINISHED ? "finished" : "failed");
        assertThat(run(output()).at("/result/steps").asInt())
                .isEqualTo(call == Call.FINISHED ? 4 : call == Call.STEP ? 3 : 2);
        // The step before which it failed is in what was saved: as a run of three steps would have left it.
        if (call == Call.STEP) {
            Trainer.train(config(
                    temporary.resolve("three"), training -> training.maxSteps(3).schedule(Schedule.CONSTANT)));
            Path output = temporary.resolve("constant");
            assertThatThrownBy(() -> Trainer.train(
                    config(output, training -> training.schedule(Schedule.CONSTANT)),
                    false,
                    failing(call, new IllegalStateException())));
            assertThat(output.resolve(AdapterFiles.TENSORS))
                    .hasSameBinaryContentAs(temporary.resolve("three").resolve(AdapterFiles.TENSORS));
        }
    }

    @Test
    void aReportThatFailsLosesNeitherAdapterNorResult() throws Exception {
        RunResult result = Trainer.train(config(), false, new TrainListener() {
            @Override
            public void evaluated(String split, long step, Evaluation evaluation) {
                try {
                    Files.createDirectories(output().resolve("report.html/in the way"));
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            }
        });
        assertThat(result.status()).isEqualTo(Status.FINISHED);
        assertThat(result.message()).contains("the report could not be written", "report.html");
        assertThat(adapter(output())).isNotEmpty();
        assertThat(run(output()).at("/result/status").asText()).isEqualTo("finished");
        assertThat(run(output()).at("/result/message").asText()).contains("report");
    }

    @Test
    void runJsonIsTheLastFileWritten() throws Exception {
        List<String> renames = new ArrayList<>();
        try (AutoCloseable listening = FileChangePoints.listen(what -> {
            if (what.startsWith("rename ")) {
                renames.add(what);
            }
        })) {
            assertThat(listening).isNotNull();
            Trainer.train(config());
        }
        assertThat(renames.get(renames.size() - 1)).contains(".run.json.tmp-");
        assertThat(renames.get(renames.size() - 2)).contains(".report.html.tmp-");
        assertThat(run(output()).path("finished").asText()).startsWith("20");
    }

    @Test
    void aFormerRunStaysUntilTheNewOneSaves() throws Exception {
        Trainer.train(config(output(), training -> training.seed(1)));
        Files.createDirectories(output().resolve("checkpoint-000002"));
        Files.writeString(output().resolve(".metrics.jsonl.tmp-01234567"), "left by a killed run");
        Files.writeString(output().resolve("notes.txt"), "mine");
        Map<String, String> former = content(output());
        former.remove(".metrics.jsonl.tmp-01234567");
        AtomicInteger looked = new AtomicInteger();
        Trainer.train(config(output(), training -> training.seed(2)), true, new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                if (metrics.step() <= 2) {
                    try {
                        assertThat(content(output())).containsAllEntriesOf(former);
                        assertThat(adapter(output())).isNotEmpty();
                        looked.incrementAndGet();
                    } catch (IOException e) {
                        throw new AssertionError(e);
                    }
                }
            }

            @Override
            public void saved(Path directory) {
                try {
                    assertThat(run(output()).path("seed").asInt()).isEqualTo(2);
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            }
        });
        assertThat(looked.get()).isEqualTo(2);
        assertThat(Files.readAllLines(output().resolve("metrics.jsonl"))).hasSize(6);
        assertThat(names(output()))
                .containsExactly(
                        "adapter_config.json",
                        "adapter_model.safetensors",
                        "metrics.jsonl",
                        "notes.txt",
                        "peft4j.json",
                        "report.html",
                        "run.json");
    }

    @Test
    void evaluationsWithoutValidationRowsAreRefused() {
        RunConfig without =
                config().toBuilder().data(new DataConfig(ROWS, null)).build();
        assertThatThrownBy(() -> Trainer.train(without))
                .isInstanceOf(ConfigException.class)
                .hasMessage("training.evaluate_every is 2, but there are no validation rows to evaluate on; give"
                        + " data.validation, or set it to 0");
        assertThat(output()).doesNotExist();
    }

    @Test
    void aRunThatFailsBeforeItSavesLeavesTheFormerOne() throws Exception {
        Trainer.train(config());
        Map<String, String> former = content(output());
        assertThatThrownBy(() -> Trainer.train(config(), true, new TrainListener() {
                    @Override
                    public void started(RunSummary run) {
                        throw new IllegalStateException("no");
                    }
                }))
                .hasMessage("no");
        assertThat(content(output())).isEqualTo(former);
        assertThatThrownBy(() -> Trainer.train(
                        config(
                                output(),
                                training -> training.learningRate(1e30)
                                        .maxGradNorm(0)
                                        .evaluateEvery(0)),
                        true,
                        SILENT))
                .isInstanceOf(TrainingException.class);
        assertThat(content(output())).isEqualTo(former);
    }

    @Test
    void aSecondRunInTheDirectoryIsRefused() throws Exception {
        List<Throwable> refused = new ArrayList<>();
        Trainer.train(config(), false, new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                for (boolean overwrite : new boolean[] {false, true}) {
                    Thread other = new Thread(() -> {
                        try {
                            Trainer.train(config(), overwrite, SILENT);
                        } catch (IOException | RuntimeException e) {
                            refused.add(e);
                        }
                    });
                    other.start();
                    try {
                        other.join();
                    } catch (InterruptedException e) {
                        throw new AssertionError(e);
                    }
                }
            }
        });
        assertThat(refused)
                .hasSize(8)
                .allSatisfy(e -> assertThat(e)
                        .isInstanceOf(ConfigException.class)
                        .hasMessageContaining("is being written by a run of this process"));
        assertThat(Files.readAllLines(output().resolve("metrics.jsonl"))).hasSize(6);
    }

    // Interrupts.

    private static void interrupted(RunResult result) {
        assertThat(result.status()).isEqualTo(Status.INTERRUPTED);
        assertThat(Thread.interrupted()).as("the flag is given back").isTrue();
    }

    @Test
    void interruptedBeforeItWritesNothing() throws Exception {
        Thread.currentThread().interrupt();
        interrupted(Trainer.train(config()));
        assertThat(output()).doesNotExist();
    }

    @Test
    void interruptedBeforeTheFirstStepLeavesTheFormerRun() throws Exception {
        TrainListener interrupts = new TrainListener() {
            @Override
            public void started(RunSummary run) {
                Thread.currentThread().interrupt();
            }
        };
        interrupted(Trainer.train(config(), false, interrupts));
        assertThat(output()).doesNotExist();
        Trainer.train(config());
        Map<String, String> former = content(output());
        interrupted(Trainer.train(config(), true, interrupts));
        assertThat(content(output())).isEqualTo(former);
    }

    @Test
    void interruptedInAStepSavesIt() throws Exception {
        interrupted(Trainer.train(config(), false, new TrainListener() {
            @Override
            public void step(StepMetrics metrics, long totalSteps) {
                Thread.currentThread().interrupt();
            }
        }));
        assertThat(run(output()).at("/result/status").asText()).isEqualTo("interrupted");
        assertThat(run(output()).at("/result/steps").asInt()).isEqualTo(1);
        assertThat(adapter(output())).isNotEmpty();
    }

    /** At each place where a file is about to be changed; with and without a former run. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void interruptedWhileItWritesLosesNothing(boolean overwrite) throws Exception {
        for (int n = overwrite ? 3 : 1; n <= 60; n += 6) {
            Path output = temporary.resolve("run-" + n);
            if (overwrite) {
                Files.createDirectories(output);
                Generation.write(1, output);
            }
            AtomicInteger left = new AtomicInteger(n);
            Thread trainer = Thread.currentThread();
            RunResult result;
            try (AutoCloseable listening = FileChangePoints.listen(what -> {
                if (Thread.currentThread() == trainer && left.decrementAndGet() == 0) {
                    trainer.interrupt();
                }
            })) {
                assertThat(listening).isNotNull();
                result = Trainer.train(config(output, training -> training.maxSteps(2)), overwrite, SILENT);
            }
            if (left.get() > 0) { // there are fewer places
                assertThat(n).isGreaterThan(20);
                assertThat(result.status()).isEqualTo(Status.FINISHED);
                assertThat(Thread.interrupted()).isFalse();
                return;
            }
            assertThat(Thread.interrupted())
                    .as("the flag is given back, point " + n)
                    .isTrue();
            assertThat(names(output)).as("point " + n).noneMatch(name -> name.contains(".tmp-"));
            if (result.steps() == 0) {
                assertThat(result.status()).isEqualTo(Status.INTERRUPTED);
                assertThat(names(output).contains(AdapterFiles.TENSORS)).isEqualTo(overwrite);
            } else {
                assertThat(adapter(output)).isNotEmpty();
                assertThat(run(output).at("/result/status").asText())
                        .isEqualTo(result.status() == Status.FINISHED ? "finished" : "interrupted");
                assertThat(Files.readAllLines(output.resolve("metrics.jsonl"))).hasSizeGreaterThanOrEqualTo(1);
            }
        }
    }

    /** At any time, loading included: either nothing is there, or a whole run. */
    @Test
    void interruptedAtAnyTimeLeavesNothingOrAWholeRun() throws Exception {
        for (int delay = 0; delay < 400; delay += 40) {
            Path output = temporary.resolve("run-" + delay);
            Thread trainer = Thread.currentThread();
            int wait = delay;
            Thread other = new Thread(() -> {
                try {
                    Thread.sleep(wait);
                } catch (InterruptedException e) {
                    return;
                }
                trainer.interrupt();
            });
            other.start();
            RunResult result = Trainer.train(config(output, training -> training.epochs(1000)));
            interrupted(result);
            other.join();
            if (result.steps() == 0) {
                assertThat(Files.notExists(output) || names(output).isEmpty()).isTrue();
            } else {
                assertThat(adapter(output)).isNotEmpty();
                assertThat(run(output).at("/result/status").asText()).isEqualTo("interrupted");
                assertThat(output.resolve("report.html")).exists();
            }
        }
    }
}
