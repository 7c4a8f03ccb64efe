package org.peft4j.cli;

import org.peft4j.config.TrainingConfig;
import picocli.CommandLine.Option;

/** {@code --dtype}, of commands that load a model. */
@SuppressWarnings("NullAway.Init") // picocli sets the field
final class DtypeOption {
    @Option(
            names = "--dtype",
            paramLabel = "T",
            converter = Dtype.Converter.class,
            completionCandidates = Dtype.Names.class,
            defaultValue = "float32",
            description = "Form of the weights in memory: ${COMPLETION-CANDIDATES} (default ${DEFAULT-VALUE}).")
    private TrainingConfig.Dtype dtype;

    TrainingConfig.Dtype value() {
        return dtype;
    }
}
