package org.peft4j.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;

/** {@code peft4j bench}. */
@Command(
        name = "bench",
        description = "Measures this machine. The table goes to standard error; JSON to standard output or a file.",
        footer = {
            "  peft4j bench kernels",
            "  peft4j bench train --model models/all-MiniLM-L6-v2 --data src/examples/data/spamassassin/train.jsonl",
            "  peft4j bench generate --model src/examples/data/stories260k --adapters 16",
            "  peft4j bench methods --model models/all-MiniLM-L6-v2 --data src/examples/data/spamassassin/train.jsonl"
        },
        subcommands = {
            BenchKernelsCommand.class,
            BenchTrainCommand.class,
            BenchGenerateCommand.class,
            BenchMethodsCommand.class
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class BenchCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() {
        throw new ParameterException(spec.commandLine(), "bench what? kernels, train, generate or methods");
    }

    Main main() {
        return main;
    }
}
