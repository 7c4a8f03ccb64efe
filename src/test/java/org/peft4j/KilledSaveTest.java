package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.io.FileChangePoints;
import org.peft4j.run.RunResult.Status;
import org.peft4j.run.SampleRun;
import org.peft4j.run.files.MetricsFile;
import org.peft4j.run.files.RunDirectory;
import org.peft4j.train.Generation;

/** A process that saves is killed before each change that it makes to a file: what is left is one save, whole. */
@Timeout(300)
class KilledSaveTest {
    private static final int KILLED = 77;

    @TempDir
    Path temporary;

    /** Replaces the run of a directory, killed before its n-th change; prints how many there were if it lived. */
    static final class Child {
        public static void main(String[] args) throws IOException {
            Path output = Path.of(args[0]);
            AtomicInteger changes = FileChangePoints.haltBefore(Integer.parseInt(args[1]), KILLED);
            RunDirectory run = RunDirectory.create(output, true);
            run.write(SampleRun.summary(output), null);
            metric(run, 1);
            run.save(to -> Generation.write(2, to));
            metric(run, 2);
            run.save(to -> Generation.write(3, to));
            Files.writeString(run.reportFile(), "report 3");
            run.write(SampleRun.summary(output), SampleRun.result(Status.FINISHED));
            System.out.println(changes.get());
        }

        private static void metric(RunDirectory run, int step) throws IOException {
            try (MetricsFile file = MetricsFile.append(run.metricsFile())) {
                file.write(SampleRun.step(step, new SplittableRandom(1)));
            }
        }
    }

    /** A run of before, with a checkpoint, leftovers of a killed run, and a file that is none of ours. */
    private static Path former(Path output) throws IOException {
        Files.createDirectories(output.resolve("checkpoint-000001"));
        Generation.write(1, output);
        Files.writeString(output.resolve("run.json"), "run 1");
        Files.writeString(output.resolve("metrics.jsonl"), "metrics 1");
        Files.writeString(output.resolve("report.html"), "report 1");
        Files.writeString(output.resolve("checkpoint-000001/state"), "checkpoint 1");
        Files.writeString(output.resolve(".adapter_model.safetensors.tmp-0123abcd"), "half");
        Files.createDirectories(output.resolve(".complete-save.tmp-0123abcd"));
        return Files.writeString(output.resolve("notes.txt"), "mine");
    }

    private int run(Path output, int killBefore) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:TieredStopAtLevel=1",
                        "-Xshare:auto",
                        "-cp",
                        System.getProperty("java.class.path"),
                        Child.class.getName(),
                        output.toString(),
                        String.valueOf(killBefore))
                .redirectErrorStream(true)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
        int status = process.waitFor();
        assertThat(status).as(said).isIn(0, KILLED);
        return status == KILLED ? -1 : Integer.parseInt(said.strip());
    }

    @Test
    void whatIsLeftIsOneSaveWhole() throws Exception {
        Path whole = temporary.resolve("whole");
        former(whole);
        int changes = run(whole, Integer.MAX_VALUE);
        assertThat(changes).isGreaterThan(30);
        assertThat(names(whole))
                .containsExactly(
                        "adapter_config.json",
                        "adapter_model.safetensors",
                        "metrics.jsonl",
                        "notes.txt",
                        "peft4j.json",
                        "report.html",
                        "run.json");
        assertThat(Generation.read(whole)).isEqualTo(3);
        assertThat(Files.readAllLines(whole.resolve("metrics.jsonl"))).hasSize(2);

        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<Integer>> kills = new ArrayList<>();
        for (int n = 1; n <= changes; n++) {
            int point = n;
            kills.add(threads.submit(() -> killedBefore(point)));
        }
        threads.shutdown();
        int former = 0;
        int before = 0;
        for (Future<Integer> kill : kills) {
            int generation = kill.get();
            assertThat(generation).as("saves follow one another").isGreaterThanOrEqualTo(before);
            before = generation;
            former += generation == 1 ? 1 : 0;
        }
        assertThat(former).as("points before the first save").isGreaterThan(5);
        assertThat(before).isEqualTo(3);
    }

    private int killedBefore(int point) throws Exception {
        Path output = temporary.resolve("killed-" + point);
        Path notes = former(output);
        assertThat(run(output, point)).isEqualTo(-1);

        int generation = Generation.read(output);
        assertThat(Generation.readPlaces(output, temporary.resolve("places-" + point)))
                .as("places at point " + point)
                .isIn(0, 1, 2, 3);
        if (generation == 1) {
            assertThat(output.resolve("run.json")).hasContent("run 1");
            assertThat(output.resolve("metrics.jsonl")).hasContent("metrics 1");
            assertThat(output.resolve("report.html")).hasContent("report 1");
            assertThat(output.resolve("checkpoint-000001/state")).hasContent("checkpoint 1");
        }
        if (Files.exists(output.resolve("run.json"))
                && Files.readString(output.resolve("run.json")).contains("\"finished\" : \"20")) {
            assertThat(output.resolve("report.html"))
                    .as("finished: all is there")
                    .hasContent("report 3");
            assertThat(generation).isEqualTo(3);
        }

        RunDirectory next = RunDirectory.create(output, true); // puts a complete save in its places, and sweeps
        assertThat(Generation.read(output)).isEqualTo(generation);
        next.abandon();
        assertThat(Generation.read(output)).isEqualTo(generation);
        assertThat(Generation.readPlaces(output, temporary.resolve("settled-" + point)))
                .isEqualTo(generation);
        assertThat(names(output)).as("point " + point).noneMatch(name -> name.contains(".tmp-"));
        if (generation > 1) {
            assertThat(names(output)).doesNotContain("checkpoint-000001");
            assertThat(output.resolve("metrics.jsonl")).content().doesNotContain("metrics 1");
        }
        assertThat(notes).hasContent("mine");
        return generation;
    }

    private static List<String> names(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }
}
