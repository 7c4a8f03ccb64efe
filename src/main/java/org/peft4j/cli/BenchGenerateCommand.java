package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import org.peft4j.bench.Benchmark;
import org.peft4j.config.ModelConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j bench generate}. */
@Command(
        name = "generate",
        description = {
            "Generates from random prompts, all of them together, and shows the speed of reading prompts (prefill) and of writing"
                    + " (decode), and memory.",
            "",
            "With --adapters the plain model and one with so many random LoRA adapters take turns, each prompt with the next"
                    + " adapter; adapted_decode_share is the part of the plain model's speed that is left."
        },
        footer = {
            "  peft4j bench generate --model models/SmolLM2-135M --prompts 16 --adapters 16 --rank 8",
            "  peft4j bench generate --model models/SmolLM2-135M --prompts 1 --prompt-tokens 1000 --dtype bfloat16"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class BenchGenerateCommand implements Callable<Integer> {
    @ParentCommand
    private BenchCommand bench;

    @Mixin
    private BenchOutput output;

    @Option(names = "--model", paramLabel = "DIR", required = true, description = "The base model's directory.")
    private Path model;

    @Option(
            names = "--prompts",
            paramLabel = "N",
            defaultValue = "8",
            description = "Prompts that go on together (default ${DEFAULT-VALUE}).")
    private int prompts;

    @Option(
            names = "--prompt-tokens",
            paramLabel = "N",
            defaultValue = "64",
            description = "Tokens of a prompt in the mean; several have from half to one and a half of it (default"
                    + " ${DEFAULT-VALUE}).")
    private int promptTokens;

    @Option(
            names = "--new-tokens",
            paramLabel = "N",
            defaultValue = "64",
            description = "New tokens for each, at least 2 (default ${DEFAULT-VALUE}).")
    private int newTokens;

    @Option(
            names = "--adapters",
            paramLabel = "N",
            defaultValue = "0",
            description = "Adapters that prompts take in turn; 0: the plain model alone (default ${DEFAULT-VALUE}).")
    private int adapters;

    @Option(
            names = "--rank",
            paramLabel = "R",
            defaultValue = "8",
            description = "Their rank (default ${DEFAULT-VALUE}).")
    private int rank;

    @Option(
            names = "--targets",
            paramLabel = "NAMES",
            defaultValue = "all-linear",
            description = "The layers that they adapt: all-linear, or names such as q_proj,v_proj (default"
                    + " ${DEFAULT-VALUE}).")
    private String targets;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            defaultValue = "5",
            description = "Rounds that are timed, behind one to warm up; the median counts (default ${DEFAULT-VALUE}).")
    private int rounds;

    @Mixin
    private DtypeOption dtype;

    @Mixin
    private DeviceOption device;

    @Override
    public Integer call() throws IOException {
        Benchmark.Generation work = new Benchmark.Generation(
                prompts, promptTokens, newTokens, new Benchmark.Generation.Adapters(adapters, rank, targets), rounds);
        Inputs.exists(model, "--model");
        output.check();
        Map<String, Object> result = Benchmark.generate(
                ModelConfig.of(model).withDtype(dtype.value()).withDevice(device.value()), work);
        TextTable numbers = new TextTable("measured", "value");
        result.forEach((name, value) -> {
            if (value instanceof Number || value instanceof String) {
                numbers.row(name, BenchOutput.cell(value));
            }
        });
        bench.main().err().print(numbers);
        output.write(result, bench.main());
        return 0;
    }
}
