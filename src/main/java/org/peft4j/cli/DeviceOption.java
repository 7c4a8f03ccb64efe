package org.peft4j.cli;

import picocli.CommandLine.Option;

/** {@code --device}, of commands that compute. */
@SuppressWarnings("NullAway.Init") // picocli sets the field
final class DeviceOption {
    @Option(
            names = "--device",
            paramLabel = "D",
            converter = Device.Converter.class,
            completionCandidates = Device.Names.class,
            defaultValue = "auto",
            description = "Where to compute: ${COMPLETION-CANDIDATES} (default ${DEFAULT-VALUE}).")
    @SuppressWarnings("UnusedVariable") // its converter says all there is to say
    private Device device;
}
