package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.peft4j.Merge;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j merge}. */
@Command(
        name = "merge",
        description =
                "Writes a plain Hugging Face model directory whose weights have the adapter in them. Model and adapter"
                        + " stay as they are. Computes on the cpu where no --device is given.",
        footer = {
            "  peft4j merge --model models/all-MiniLM-L6-v2 --adapter runs/spam-lora --out models/spam",
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class MergeCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Option(names = "--model", paramLabel = "DIR", required = true, description = "The base model's directory.")
    private Path model;

    @Option(names = "--adapter", paramLabel = "DIR", required = true, description = "The adapter's directory.")
    private Path adapter;

    @Option(names = "--out", paramLabel = "DIR", required = true, description = "The model directory to make.")
    private Path out;

    @Option(names = "--overwrite", description = "Replace the directory, with all that is in it.")
    private boolean overwrite;

    @Mixin
    private DeviceOption device;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        Inputs.exists(model, "--model");
        Inputs.exists(adapter, "--adapter");
        try (CleanStop stop = new CleanStop()) {
            Merge.merge(model, adapter, out, overwrite, device.given() == null ? "cpu" : device.given())
                    .forEach(note -> main.err().println("note: " + note));
        }
        main.err().println("wrote the merged model to " + out);
        return 0;
    }
}
