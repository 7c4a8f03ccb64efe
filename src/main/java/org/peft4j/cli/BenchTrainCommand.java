package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.peft4j.bench.Benchmark;
import org.peft4j.config.ModelConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.TypeConversionException;

/** {@code peft4j bench train}. */
@Command(
        name = "train",
        description =
                "Trains LoRA (r 8 on query and value, 16 texts of at most 256 tokens a step) for some steps and shows"
                        + " speed and memory. Saves nothing.",
        footer = {
            "  peft4j bench train --model models/all-MiniLM-L6-v2 --data src/examples/data/spamassassin/train.jsonl",
            "  peft4j bench train --model models/all-MiniLM-L6-v2 --data src/examples/data/spamassassin/train.jsonl \\",
            "      --dtype bfloat16 --steps 40 --json bench.json"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class BenchTrainCommand implements Callable<Integer> {
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
            description = "Rows with the columns text and label: .jsonl or .csv.")
    private Path data;

    @Mixin
    private DtypeOption dtype;

    @Option(
            names = "--dropout",
            paramLabel = "D",
            converter = DropoutConverter.class,
            completionCandidates = DropoutNames.class,
            defaultValue = "config",
            description = "Dropout of the base model: config, as its config says, or 0 (default ${DEFAULT-VALUE}).")
    private ModelConfig.Dropout dropout;

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
        Inputs.exists(model, "--model");
        Inputs.isData(data, "--data");
        output.check();
        Map<String, Object> result = Benchmark.train(model, data, dtype.value(), dropout, steps, warmup);
        bench.main().err().print(table(result));
        output.write(result, bench.main());
        return 0;
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

    /** Reads what a run file has at model.dropout. */
    static final class DropoutConverter implements ITypeConverter<ModelConfig.Dropout> {
        @Override
        public ModelConfig.Dropout convert(String value) {
            return switch (value) {
                case "config" -> ModelConfig.Dropout.CONFIG;
                case "0", "0.0" -> ModelConfig.Dropout.OFF;
                default -> throw new TypeConversionException("must be config or 0, got '" + value + "'");
            };
        }
    }

    /** For help and completion. */
    static final class DropoutNames extends ArrayList<String> {
        DropoutNames() {
            super(List.of("config", "0"));
        }
    }
}
