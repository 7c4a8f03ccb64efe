package org.peft4j.cli;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.peft4j.bench.Benchmark;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j bench kernels}. */
@Command(
        name = "kernels",
        description = "Times each native operation, forward and backward, with each of its kernels, the slow reference"
                + " included.",
        footer = {"  peft4j bench kernels", "  peft4j bench kernels --repeats 50 --json kernels.json"})
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class BenchKernelsCommand implements Callable<Integer> {
    @ParentCommand
    private BenchCommand bench;

    @Mixin
    private BenchOutput output;

    @Mixin
    private DeviceOption device;

    @Option(
            names = "--repeats",
            paramLabel = "N",
            defaultValue = "10",
            description = "Measurements of each; the median counts (default ${DEFAULT-VALUE}).")
    private int repeats;

    @Override
    public Integer call() throws IOException {
        if (repeats < 1) {
            throw new IllegalArgumentException("--repeats must be at least 1, got " + repeats);
        }
        output.check();
        List<Map<String, Object>> rows = Benchmark.kernels(device.value(), repeats);
        bench.main().err().print(BenchOutput.table(rows));
        output.write(rows, bench.main());
        return 0;
    }
}
