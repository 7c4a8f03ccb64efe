package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.bench.Benchmark;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.run.RunConfigFile;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.Spec;

/** {@code peft4j bench train}. */
@Command(
        name = "train",
        description = {
            "Trains for some steps and shows speed and memory. Saves nothing.",
            "",
            "What is trained is a run file, or, with --model and --data, a method with its defaults, 16 texts of at most"
                    + " 256 tokens a step; LoRA then has r 8 on query and value, for causal-lm on all linear layers."
        },
        footer = {
            "  peft4j bench train --model models/all-MiniLM-L6-v2 --data src/examples/data/spamassassin/train.jsonl",
            "  peft4j bench train --model models/all-MiniLM-L6-v2 --data src/examples/data/spamassassin/train.jsonl \\",
            "      --method bottleneck --set training.checkpointing=block --dtype bfloat16 --steps 40 --json bench.json",
            "  peft4j bench train --config src/examples/spam-lora.yaml --set method.r=64"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class BenchTrainCommand implements Callable<Integer> {
    private static final List<String> OF_THE_RUN_FILE =
            List.of("--model", "--data", "--task", "--method", "--dtype", "--device", "--dropout");
    private static final List<String> QUERY_AND_VALUE = List.of("query", "value");

    @ParentCommand
    private BenchCommand bench;

    @Spec
    private CommandSpec spec;

    @Mixin
    private BenchOutput output;

    @Option(names = "--config", paramLabel = "FILE", description = "A run file, as for train.")
    private @Nullable Path config;

    @Option(names = "--model", paramLabel = "DIR", description = "Without --config: the base model's directory.")
    private @Nullable Path model;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description = "Without --config: rows with the task's columns, such as text and label: .jsonl or .csv.")
    private @Nullable Path data;

    @Option(
            names = "--task",
            paramLabel = "NAME",
            defaultValue = SequenceClassificationConfig.TYPE,
            description = "Without --config: what is trained (default ${DEFAULT-VALUE}).")
    private String task;

    @Option(
            names = "--method",
            paramLabel = "NAME",
            defaultValue = "lora",
            description = "Without --config: how it is trained (default ${DEFAULT-VALUE}); peft4j methods lists them.")
    private String method;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description = "Overrides a setting of the run, such as training.checkpointing=block. May be repeated.")
    private List<String> overrides = List.of();

    @Mixin
    private DtypeOption dtype;

    @Mixin
    private DeviceOption device;

    @Option(
            names = "--dropout",
            paramLabel = "D",
            completionCandidates = DropoutNames.class,
            defaultValue = "config",
            description = "Dropout of the base model: config, as its config says, or 0 (default ${DEFAULT-VALUE}).")
    private String dropout;

    @Option(
            names = "--steps",
            paramLabel = "N",
            defaultValue = "20",
            description = "Steps that are timed (default ${DEFAULT-VALUE}).")
    private int steps;

    @Option(
            names = "--warmup",
            paramLabel = "N",
            defaultValue = "3",
            description = "Steps before them (default ${DEFAULT-VALUE}).")
    private int warmup;

    @Override
    public Integer call() throws IOException {
        if (steps < 1 || warmup < 0) {
            throw new IllegalArgumentException(
                    "--steps must be at least 1 and --warmup at least 0, got " + steps + " and " + warmup);
        }
        RunConfig run = run();
        String settings = config == null ? "--" : "";
        Inputs.exists(run.model().path(), settings + "model");
        Inputs.isData(
                Objects.requireNonNull(run.data()).train(), // both forms have data
                config == null ? "--data" : "data.train");
        output.check();
        Map<String, Object> result = Benchmark.train(run, steps, warmup);
        bench.main().err().print(table(result));
        output.write(result, bench.main());
        return 0;
    }

    private RunConfig run() {
        if (config == null) {
            if (model == null || data == null) {
                throw new ParameterException(spec.commandLine(), "give --model and --data, or --config");
            }
            return RunConfigFile.of(settings(model, data), "bench train", overrides);
        }
        ParseResult given = spec.commandLine().getParseResult();
        OF_THE_RUN_FILE.stream().filter(given::hasMatchedOption).findFirst().ifPresent(option -> {
            throw new ParameterException(
                    spec.commandLine(), option + " beside --config: the run file says it; --set changes it");
        });
        return RunConfigFile.read(config, overrides);
    }

    /** What a run file would say. */
    private Map<String, Object> settings(Path ofModel, Path ofData) {
        boolean language = task.equals(CausalLmConfig.TYPE);
        Map<String, Object> own = method.equals("lora")
                ? Map.of("type", method, "r", 8, "alpha", 16, "targets", language ? "all-linear" : QUERY_AND_VALUE)
                : Map.of("type", method);
        return Map.of(
                "model",
                Map.of("path", ofModel.toString(), "dtype", dtype.name(), "device", device.value(), "dropout", dropout),
                "task",
                Map.of("type", task, "max_length", 256),
                "data",
                Map.of("train", ofData.toString()),
                "method",
                own,
                "training",
                Map.of("batch_size", 16),
                "output",
                "not-written");
    }

    /** The single numbers, then the table of memory; what is nested otherwise is in the JSON only. */
    private static String table(Map<String, Object> result) {
        TextTable numbers = new TextTable("measured", "value");
        List<Map<String, Object>> memory = new ArrayList<>();
        result.forEach((name, value) -> {
            if (value instanceof Number || value instanceof String) {
                numbers.row(name, BenchOutput.cell(value));
            } else if (name.equals("memory") && value instanceof List<?> rows) {
                for (Object row : rows) {
                    memory.add(BenchOutput.keyed((Map<?, ?>) row));
                }
            }
        });
        return numbers + (memory.isEmpty() ? "" : "\nkept for backward, a token\n" + BenchOutput.table(memory));
    }

    /** For help and completion. */
    static final class DropoutNames extends ArrayList<String> {
        DropoutNames() {
            super(List.of("config", "0"));
        }
    }
}
