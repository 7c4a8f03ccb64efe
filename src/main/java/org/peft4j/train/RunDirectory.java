package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AtomicFiles;

/**
 * The directory of one run: the adapter ({@code adapter_config.json}, {@code adapter_model.safetensors}),
 * {@code run.json} (every setting, versions, machine, how it ended), {@code metrics.jsonl}, {@code report.html} and
 * {@code checkpoint-NNNNNN} directories. A directory that holds another run is refused, or, on demand, swept of these
 * files first; other files in it are never touched.
 */
public final class RunDirectory {
    static final String RUN = "run.json";
    static final String METRICS = "metrics.jsonl";
    static final String REPORT = "report.html";

    private static final List<String> FILES =
            List.of(RUN, METRICS, REPORT, "adapter_config.json", "adapter_model.safetensors", "latest");
    private static final Pattern CHECKPOINT = Pattern.compile("checkpoint-\\d{6,}");

    private final Path path;

    private RunDirectory(Path path) {
        this.path = path;
    }

    /** A run directory that is there already, to read from. */
    public static RunDirectory of(Path path) {
        return new RunDirectory(path);
    }

    /**
     * Refuses a directory that cannot be used; touches nothing, so that it can be called before anything costly.
     *
     * @throws ConfigException if it is no directory, or holds another run and {@code overwrite} is not set
     */
    public static void check(Path output, boolean overwrite) throws IOException {
        if (Files.exists(output) && !Files.isDirectory(output)) {
            throw new ConfigException("output: " + output + " is a file; choose a directory");
        }
        List<Path> former = former(output);
        if (!former.isEmpty() && !overwrite) {
            throw new ConfigException("output: " + output + " holds another run ("
                    + former.get(0).getFileName() + "); choose another directory, or replace it with --overwrite");
        }
    }

    /** Makes the directory, after {@link #check}; with {@code overwrite} the files of a former run are deleted. */
    public static RunDirectory create(Path output, boolean overwrite) throws IOException {
        check(output, overwrite);
        Files.createDirectories(output);
        for (Path file : former(output)) {
            delete(file);
        }
        return new RunDirectory(output);
    }

    /** What a run has left in the directory. */
    private static List<Path> former(Path output) throws IOException {
        if (!Files.isDirectory(output)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(output)) {
            return files.filter(file -> {
                        String name = String.valueOf(file.getFileName());
                        return FILES.contains(name) || CHECKPOINT.matcher(name).matches();
                    })
                    .sorted()
                    .toList();
        }
    }

    private static void delete(Path file) throws IOException {
        if (Files.isDirectory(file) && !Files.isSymbolicLink(file)) {
            try (Stream<Path> inside = Files.list(file)) {
                for (Path path : inside.toList()) {
                    delete(path);
                }
            }
        }
        Files.delete(file);
    }

    public Path path() {
        return path;
    }

    public Path runFile() {
        return path.resolve(RUN);
    }

    public Path metricsFile() {
        return path.resolve(METRICS);
    }

    public Path reportFile() {
        return path.resolve(REPORT);
    }

    /** Where the checkpoint after a step belongs: {@code checkpoint-000120}. */
    public Path checkpoint(long step) {
        return path.resolve(String.format(Locale.ROOT, "checkpoint-%06d", step));
    }

    /** Writes run.json: at the start without a result, at the end with one. */
    public void write(RunSummary summary, @Nullable RunResult result) throws IOException {
        Map<String, @Nullable Object> run = new LinkedHashMap<>();
        run.put("settings", RunConfigFile.toMap(summary.config()));
        run.put("seed", summary.config().training().seed());
        run.put("versions", new TreeMap<>(summary.versions()));
        run.put("machine", MachineFacts.read());
        run.put("compute", summary.compute());
        run.put("train_examples", summary.trainExamples());
        run.put("train_cut", summary.trainCut());
        run.put("total_steps", summary.totalSteps());
        run.put("trainable_parameters", summary.trainableParameters());
        run.put("model_parameters", summary.modelParameters());
        run.put("started", summary.started().toString());
        run.put("finished", result == null ? null : result.finished().toString());
        run.put("result", result == null ? null : toMap(result));
        AtomicFiles.writeString(runFile(), RunJson.pretty(run));
    }

    private static Map<String, @Nullable Object> toMap(RunResult result) {
        Map<String, @Nullable Object> map = new LinkedHashMap<>();
        map.put("status", result.status().name().toLowerCase(Locale.ROOT));
        map.put("steps", result.steps());
        map.put("tokens", result.tokens());
        map.put("seconds", result.seconds());
        map.put("tokens_per_second", result.tokensPerSecond());
        map.put("message", result.message());
        return map;
    }
}
