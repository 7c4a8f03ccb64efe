package org.peft4j.run.files;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.host.MachineFacts;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.AtomicDirectories;
import org.peft4j.io.AtomicFileSets;
import org.peft4j.io.AtomicFiles;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunResult;
import org.peft4j.run.RunSummary;

/**
 * The directory of one run: the adapter ({@code adapter_config.json}, {@code adapter_model.safetensors},
 * {@code peft4j.json}), {@code run.json} (every setting, versions, machine, notes, how it ended), {@code metrics.jsonl},
 * {@code report.html}, {@code checkpoint-NNNNNN} directories, and, where the adapter is made of others, their folders 0, 1, …. A directory that holds another run is refused, or, on demand,
 * that run is replaced; other files in it are never touched.
 *
 * <p><b>A save is whole.</b> The adapter's files are saved together ({@code AtomicFileSets}): whoever reads them with this
 * library finds those of one save, wherever the process was killed. Hugging Face PEFT, which knows only the places of the
 * files, finds one save's, too, or (for a moment while a former run is replaced) none: its weights go first, and the new
 * ones come last.
 *
 * <p><b>A former run stays, complete, until the new one first saves.</b> Until then {@code run.json} and
 * {@code metrics.jsonl} of the new run are in the working directory {@code .complete-save.tmp-XXXXXXXX}, where the first
 * save puts the adapter beside them. That directory then becomes the run in one step, and what the former run left
 * (adapter, report, checkpoints, temporary files of killed runs) is swept. Where there is no former run both files are in
 * their places from the start.
 *
 * <p><b>Killed at any point</b>, the directory holds the former run or the new one. A new one may still have to be put in its
 * places: readers look for it where it is, and the next run does it. {@code run.json} is written last, after adapter, metrics
 * and report: where it says {@code finished}, all is there.
 *
 * <p>One run at a time writes: a second one is refused and told who does.
 */
public final class RunDirectory {
    static final String RUN = "run.json";
    static final String METRICS = "metrics.jsonl";
    public static final String REPORT = "report.html";

    /** What a run leaves, in the order in which it is taken away: without weights nobody takes the rest for an adapter. */
    private static final List<String> FILES = List.of(
            AdapterFiles.TENSORS,
            AdapterFiles.CONFIG,
            AdapterSettings.FILE,
            AdapterSettings.TEMPLATE,
            RUN,
            METRICS,
            REPORT,
            "latest",
            AtomicFileSets.COMPLETE);

    private static final Pattern CHECKPOINT = Pattern.compile("checkpoint-\\d{6,}");
    private static final Pattern TEMPORARY = Pattern.compile("\\.(.+)\\.tmp-[0-9a-f]{8}");

    private final Path path;

    /** Where the run is until its first save, of a run that replaces another. */
    private @Nullable Path working;

    private RunDirectory(Path path, @Nullable Path working) {
        this.path = path;
        this.working = working;
    }

    /** A run directory that is there already, to read from. */
    public static RunDirectory of(Path path) {
        return new RunDirectory(path, null);
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
            throw new ConfigException(
                    "output: " + output + " holds another run (" + former.get(0).getFileName()
                            + "); choose another directory, or replace it (--overwrite; in Java overwrite = true)");
        }
    }

    /**
     * Makes the directory, after {@link #check}, and removes temporary files that killed runs left. A former run stays until
     * the first save.
     */
    public static RunDirectory create(Path output, boolean overwrite) throws IOException {
        check(output, overwrite);
        if (!Files.isDirectory(output)) { // else it may be a link to one
            Files.createDirectories(output);
        }
        settle(output);
        for (Path file : list(output, RunDirectory::isTemporary)) {
            AtomicDirectories.delete(file);
        }
        return new RunDirectory(output, former(output).isEmpty() ? null : AtomicFileSets.begin(output));
    }

    /** What a run has left in the directory, weights first. */
    private static List<Path> former(Path output) throws IOException {
        List<Path> former = new ArrayList<>(list(output, RunDirectory::isOfARun));
        int weights = former.contains(output.resolve(AdapterFiles.TENSORS)) ? 1 : 0;
        former.addAll(weights, AdapterFiles.foldersInside(output)); // before the config, which tells of them
        return former;
    }

    /**
     * Refuses a directory whose folders 0, 1, … are somebody's, where a run's adapter is made of others, which belong there.
     *
     * @param count how many
     */
    public static void checkFolders(Path output, int count) throws IOException {
        List<Path> former = former(output);
        for (int i = 0; i < count; i++) {
            Path folder = AdapterFiles.inside(output, i);
            if (Files.exists(folder) && !former.contains(folder)) {
                throw new ConfigException("output: " + output + " has a folder " + i
                        + ", where an adapter belongs that this run's is made of; choose another directory");
            }
        }
    }

    private static boolean isOfARun(String name) {
        return FILES.contains(name) || CHECKPOINT.matcher(name).matches();
    }

    private static boolean isTemporary(String name) {
        Matcher matcher = TEMPORARY.matcher(name);
        return matcher.matches() && (FILES.contains(matcher.group(1)) || FILES.contains("." + matcher.group(1)));
    }

    private static List<Path> list(Path directory, Predicate<String> which) throws IOException {
        if (!Files.isDirectory(directory)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(directory)) {
            return files.filter(file -> which.test(String.valueOf(file.getFileName())))
                    .sorted(Comparator.comparingInt(RunDirectory::order).thenComparing(Comparator.naturalOrder()))
                    .toList();
        }
    }

    private static int order(Path file) {
        int place = FILES.indexOf(String.valueOf(file.getFileName()));
        return place < 0 ? FILES.size() : place;
    }

    /** A set with a run.json in it is the first save of a run, before which a former one goes. */
    private static void settle(Path output) throws IOException {
        AtomicFileSets.settle(
                output,
                set -> Files.exists(set.resolve(RUN))
                        ? former(output).stream()
                                .filter(path -> !path.endsWith(AtomicFileSets.COMPLETE))
                                .toList()
                        : List.of(),
                AdapterFiles.TENSORS);
    }

    /**
     * Saves the adapter: all of its files or, on failure, none.
     *
     * @param adapter writes them into the directory that it is given
     */
    public void save(AtomicDirectories.Fills adapter) throws IOException {
        settle(path);
        Path set = working == null ? AtomicFileSets.begin(path) : working;
        try {
            adapter.fill(set);
            AtomicFileSets.commit(path, set);
        } finally {
            if (!Files.exists(set)) { // it was renamed, whatever failed then
                working = null;
            } else if (working == null) {
                AtomicDirectories.deleteQuietly(set);
            }
        }
        settle(path);
    }

    /** Whether the run is not yet in its place, but beside a former one, which its first save replaces. */
    public boolean isBesideFormer() {
        return working != null;
    }

    /** Takes away what a run without a save has written; a former run is as it was. */
    public void abandon() throws IOException {
        if (working != null) {
            AtomicDirectories.delete(working);
            working = null;
            return;
        }
        for (String name : List.of(RUN, METRICS)) {
            Files.deleteIfExists(path.resolve(name));
        }
    }

    private Path home() {
        return working == null ? path : working;
    }

    public Path path() {
        return path;
    }

    public Path runFile() {
        return home().resolve(RUN);
    }

    public Path metricsFile() {
        return home().resolve(METRICS);
    }

    public Path reportFile() {
        return home().resolve(REPORT);
    }

    /** Where the checkpoint after a step belongs: {@code checkpoint-000120}. */
    public Path checkpoint(long step) {
        return path.resolve(String.format(Locale.ROOT, "checkpoint-%06d", step));
    }

    /** Writes run.json: at the start without a result, at the end with one, as the last file. */
    public void write(RunSummary summary, @Nullable RunResult result) throws IOException {
        AtomicFiles.writeString(runFile(), json(summary, result));
    }

    /** What run.json says. */
    public static String json(RunSummary summary, @Nullable RunResult result) {
        Map<String, @Nullable Object> run = new LinkedHashMap<>();
        run.put("settings", RunConfigFile.toMap(summary.config()));
        run.put("seed", summary.config().training().seed());
        run.put("versions", new TreeMap<>(summary.environment().versions()));
        run.put("machine", MachineFacts.read());
        run.put("compute", summary.environment().compute());
        run.put("train_examples", summary.rows().examples());
        run.put("train_cut", summary.rows().cut());
        RunSummary.Texts texts = summary.rows().texts();
        if (texts != null) {
            run.put("train_rows", texts.forms());
            run.put("train_template", texts.template());
            run.put("train_packs_full", texts.full());
        }
        run.put("total_steps", summary.totalSteps());
        run.put("trainable_parameters", summary.parameters().trained());
        run.put("model_parameters", summary.parameters().model());
        run.put("notes", summary.notes());
        run.put("started", summary.environment().started().toString());
        run.put("finished", result == null ? null : result.finished().toString());
        run.put("result", result == null ? null : toMap(result));
        return RunJson.pretty(run);
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
