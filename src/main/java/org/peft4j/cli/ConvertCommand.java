package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.peft4j.Convert;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j convert}. */
@Command(
        name = "convert",
        description =
                "Writes an adapter of any method that changes linear layers and can be merged as plain LoRA, and says how near it comes. Model and"
                        + " adapter stay as they are.",
        footer = {
            "  peft4j convert --model models/all-MiniLM-L6-v2 --adapter runs/spam-vera --rank 16 --out runs/spam-as-lora",
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class ConvertCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Option(names = "--model", paramLabel = "DIR", required = true, description = "The base model's directory.")
    private Path model;

    @Option(names = "--adapter", paramLabel = "DIR", required = true, description = "The adapter's directory.")
    private Path adapter;

    @Option(names = "--out", paramLabel = "DIR", required = true, description = "The adapter directory to make.")
    private Path out;

    @Option(
            names = "--rank",
            paramLabel = "K",
            description = "The largest rank of a layer. Without it as much as the update has.")
    private int rank;

    @Option(names = "--overwrite", description = "Replace the directory, with all that is in it.")
    private boolean overwrite;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        Inputs.exists(model, "--model");
        Inputs.exists(adapter, "--adapter");
        Convert.Result result;
        try (CleanStop stop = new CleanStop()) {
            result = Convert.toLora(model, adapter, out, rank, overwrite);
        }
        result.notes().forEach(note -> main.err().println("note: " + note));
        main.err()
                .println(String.format(
                        Locale.ROOT, "relative error of the update: %.2e (rank %d)", result.error(), result.r()));
        result.errors().entrySet().stream()
                .max(Comparator.comparingDouble(Map.Entry::getValue))
                .filter(worst -> worst.getValue() > 0)
                .ifPresent(worst -> main.err()
                        .println(String.format(Locale.ROOT, "most at %s: %.2e", worst.getKey(), worst.getValue())));
        main.err().println("wrote the LoRA adapter to " + out);
        return 0;
    }
}
