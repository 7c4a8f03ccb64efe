package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.peft4j.Trainer;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.run.RunConfigFile;
import org.peft4j.run.RunResult;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j train}. */
@Command(
        name = "train",
        description = {
            "Trains an adapter as a run file says. Prints all settings, then how it goes; writes adapter, run.json,"
                    + " metrics.jsonl and report.html into the run's output directory.",
            "",
            "Ctrl-C ends the run after the current step, with the adapter saved; a second one ends it at once."
        },
        footer = {
            "  peft4j train --config src/examples/spam-lora.yaml",
            "  peft4j train --config src/examples/spam-lora.yaml --set method.r=16 --set output=runs/r16",
            "  peft4j train --config src/examples/spam-lora.yaml --set training.max_steps=10 --overwrite",
            "  peft4j train --config src/examples/shakespeare-lora.yaml"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class TrainCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            required = true,
            description = "The run file, in YAML; src/examples has some with a comment on each setting.")
    private Path config;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description =
                    "Overrides a setting of the run file, such as training.epochs=2. May be repeated; the last wins.")
    private List<String> overrides = List.of();

    @Option(names = "--overwrite", description = "Replace a former run in the output directory.")
    private boolean overwrite;

    @Mixin
    private DeviceOption device;

    /** {@code --device D} is {@code --set model.device=D}. */
    private List<String> withDevice() {
        String given = device.given();
        if (given == null) {
            return overrides;
        }
        String override = "model.device=" + given;
        for (String other : overrides) {
            if (other.startsWith("model.device=") && !other.equals(override)) {
                throw new IllegalArgumentException(
                        "--device " + given + " and --set " + other + " are the same setting; leave one of them out");
            }
        }
        List<String> all = new ArrayList<>(overrides);
        all.add(override);
        return all;
    }

    @Override
    public Integer call() throws IOException {
        RunConfig run = RunConfigFile.read(config, withDevice());
        Inputs.exists(run.model().path(), "model");
        DataConfig files = Objects.requireNonNull(run.data()); // a run file has them
        Inputs.isData(files.train(), "data.train");
        Inputs.isData(files.validation(), "data.validation");
        Inputs.exists(run.adapter(), "adapter");
        run.frozenAdapters().forEach(frozen -> Inputs.exists(frozen, "frozen_adapters"));
        main.out().print(SettingsText.of(RunConfigFile.toMap(run), ""));
        main.out().println();
        try (GracefulStop stop = new GracefulStop(main.err())) {
            RunResult result = Trainer.train(
                    run,
                    overwrite,
                    new TrainOutput(main.out(), main.progressBar(run.training().logEvery()), run, stop));
            if (result.status() == RunResult.Status.INTERRUPTED && result.steps() == 0) {
                main.err().println("peft4j: interrupted before the first step; nothing was written");
            }
            return result.status() == RunResult.Status.INTERRUPTED ? Failure.INTERRUPTED : 0;
        }
    }
}
