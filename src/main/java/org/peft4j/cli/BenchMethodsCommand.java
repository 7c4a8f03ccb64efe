package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.peft4j.bench.Benchmark;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.run.RunConfigFile;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j bench methods}. */
@Command(
        name = "methods",
        description = {
            "Trains some steps of each method, by turns with LoRA on the same batches, and shows speed and memory beside"
                    + " LoRA's. Saves nothing.",
            "",
            "LoRA has r 8 and alpha 16; methods that choose layers get LoRA's. A row is a method with its defaults, a named"
                    + " configuration of one (seq_bn), a variant of LoRA (dora), or a run file's method, optimiser and task."
                    + " What model, task or settings do not allow is listed with the reason."
        },
        footer = {
            "  peft4j bench methods --model models/all-MiniLM-L6-v2 --data src/examples/data/spamassassin/train.jsonl",
            "  peft4j bench methods --model models/all-MiniLM-L6-v2 --data src/examples/data/spamassassin/train.jsonl \\",
            "      --methods dora,oft,bottleneck --config src/examples/spam-prefix.yaml --rounds 5 --json methods.json",
            "  peft4j bench methods --model src/examples/data/stories260k --data src/examples/data/shakespeare/train.jsonl \\",
            "      --task causal-lm"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class BenchMethodsCommand implements Callable<Integer> {
    @ParentCommand
    private BenchCommand bench;

    @Mixin
    private BenchOutput output;

    @Option(names = "--model", paramLabel = "DIR", required = true, description = "The base model's directory.")
    private Path model;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            required = true,
            description = "Rows with the task's columns, such as text and label: .jsonl or .csv.")
    private Path data;

    @Option(
            names = "--task",
            paramLabel = "NAME",
            defaultValue = SequenceClassificationConfig.TYPE,
            description = "What is trained (default ${DEFAULT-VALUE}).")
    private String task;

    @Option(
            names = "--methods",
            paramLabel = "NAMES",
            split = ",",
            description = "The rows beside LoRA's, with commas between them (default: all).")
    private List<String> methods = List.of();

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description =
                    "A run file whose method is a row, too, named after the file, with the targets that it has. May be"
                            + " repeated.")
    private List<Path> configs = List.of();

    @Option(
            names = "--targets",
            paramLabel = "NAMES",
            description =
                    "The layers that LoRA and the others adapt: all-linear, or names such as query,value (default: the"
                            + " usual ones of the model, for causal-lm all-linear).")
    private @Nullable String targets;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description =
                    "Overrides a setting of LoRA's run, whose task and training all have, such as task.max_length=128."
                            + " May be repeated.")
    private List<String> overrides = List.of();

    @Mixin
    private DtypeOption dtype;

    @Mixin
    private DeviceOption device;

    @Option(
            names = "--dropout",
            paramLabel = "D",
            completionCandidates = BenchTrainCommand.DropoutNames.class,
            defaultValue = "config",
            description = "Dropout of the base model: config, as its config says, or 0 (default ${DEFAULT-VALUE}).")
    private String dropout;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            defaultValue = "3",
            description = "Rounds of LoRA and the method in turn; the median counts (default ${DEFAULT-VALUE}).")
    private int rounds;

    @Option(
            names = "--steps",
            paramLabel = "N",
            defaultValue = "3",
            description = "Steps of a round (default ${DEFAULT-VALUE}).")
    private int steps;

    @Option(
            names = "--warmup",
            paramLabel = "N",
            defaultValue = "1",
            description = "Steps before them (default ${DEFAULT-VALUE}).")
    private int warmup;

    @Override
    public Integer call() throws IOException {
        Inputs.exists(model, "--model");
        Inputs.isData(data, "--data");
        for (Path config : configs) {
            Inputs.exists(config, "--config");
        }
        output.check();
        Benchmark.Comparison work = new Benchmark.Comparison(methods, added(), rounds, steps, warmup);
        RunConfig lora = RunConfigFile.of(settings(), "bench methods", overrides);
        Map<String, Object> result = Benchmark.methods(lora, work, this::tell);
        bench.main().err().print("\n" + table(result));
        output.write(result, bench.main());
        return rows(result, "failed").isEmpty() ? 0 : 1;
    }

    private Map<String, RunConfig> added() {
        Map<String, RunConfig> added = new LinkedHashMap<>();
        for (Path config : configs) {
            String name = String.valueOf(config.getFileName()).replaceFirst("\\.ya?ml$", "");
            if (added.put(name, RunConfigFile.read(config, List.of())) != null) {
                throw new ConfigException("--config: two files are called " + name
                        + ", after which their rows are named;" + " rename one");
            }
        }
        return added;
    }

    /** What a run file of LoRA would say. */
    private Map<String, Object> settings() {
        Map<String, Object> method = new LinkedHashMap<>(Map.of("type", "lora", "r", 8, "alpha", 16));
        if (targets != null) {
            method.put("targets", targets.equals("all-linear") ? targets : List.of(targets.split(",", -1)));
        } else if (task.equals(CausalLmConfig.TYPE)) {
            method.put("targets", "all-linear");
        }
        return Map.of(
                "model",
                Map.of("path", model.toString(), "dtype", dtype.name(), "device", device.value(), "dropout", dropout),
                "task",
                Map.of("type", task, "max_length", 256),
                "data",
                Map.of("train", data.toString()),
                "method",
                method,
                "training",
                Map.of("batch_size", 16),
                "output",
                "not-written");
    }

    /** A line for each row as it comes: all of them take minutes. */
    private void tell(Map<String, Object> row) {
        Object why = row.getOrDefault("reason", row.get("error"));
        bench.main()
                .err()
                .println(row.get("name") + ": "
                        + (why != null
                                ? why
                                : formatted("%,.0f", row, "tokens_per_second") + " tokens/s, "
                                        + formatted("%.2f", row, "ratio") + " of LoRA's"));
    }

    private static String table(Map<String, Object> result) {
        TextTable table = new TextTable(
                "method",
                "trained",
                "share",
                "tokens/s",
                "of LoRA's",
                "from",
                "to",
                "step MB",
                "of LoRA's",
                "stored MB",
                "targets");
        for (Map<String, Object> row : rows(result, "rows")) {
            table.row(
                    named(row),
                    formatted("%,.0f", row, "trained"),
                    String.format(Locale.ROOT, "%.3f%%", 100 * number(row, "trained_share")),
                    formatted("%,.0f", row, "tokens_per_second"),
                    formatted("%.2f", row, "ratio"),
                    formatted("%.2f", row, "ratio_min"),
                    formatted("%.2f", row, "ratio_max"),
                    formatted("%,.1f", row, "peak_of_a_step_mb"),
                    formatted("%.2f", row, "peak_ratio"),
                    formatted("%,.2f", row, "stored_mb"),
                    row.get("equal_targets") == Boolean.TRUE ? "LoRA's" : "own");
        }
        return table
                + notes("left out", rows(result, "left_out"), "reason")
                + notes("failed", rows(result, "failed"), "error");
    }

    private static double number(Map<String, Object> row, String key) {
        return ((Number) Objects.requireNonNull(row.get(key))).doubleValue();
    }

    private static String formatted(String format, Map<String, Object> row, String key) {
        return String.format(Locale.ROOT, format, number(row, key));
    }

    private static String notes(String title, List<Map<String, Object>> rows, String key) {
        StringBuilder text = new StringBuilder();
        rows.forEach(row -> text.append(text.isEmpty() ? "\n" + title + "\n" : "")
                .append("  ")
                .append(named(row))
                .append(": ")
                .append(row.get(key))
                .append('\n'));
        return text.toString();
    }

    /** The row's name, and its method's where it is called otherwise. */
    private static String named(Map<String, Object> row) {
        Object method = row.get("method");
        Object changed = row.get("changed");
        return row.get("name")
                + (row.get("name").equals(method) || "".equals(method) ? "" : " (" + method + ")")
                + (changed instanceof Map<?, ?> settings && !settings.isEmpty()
                        ? " with "
                                + BenchOutput.keyed(settings).entrySet().stream()
                                        .map(entry -> entry.getKey()
                                                + (entry.getValue() instanceof Number size ? " " + size : ""))
                                        .collect(Collectors.joining(", "))
                        : "");
    }

    private static List<Map<String, Object>> rows(Map<String, Object> result, String name) {
        return ((List<?>) result.get(name))
                .stream().map(row -> BenchOutput.keyed((Map<?, ?>) row)).toList();
    }
}
