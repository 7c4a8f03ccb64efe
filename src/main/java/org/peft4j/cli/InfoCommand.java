package org.peft4j.cli;

import java.util.List;
import java.util.concurrent.Callable;
import org.peft4j.train.Machine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j info}. */
@Command(
        name = "info",
        description = "Shows versions, devices, what the processor can do, and which kernels are used and why.",
        footer = "  peft4j info")
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class InfoCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Override
    public Integer call() {
        TextTable facts = new TextTable("fact", "value");
        Machine.facts().forEach((name, value) -> facts.row(name, value));
        TextTable kernels = new TextTable("operation", "kernel", "why");
        for (List<String> kernel : Machine.kernels()) {
            kernels.row(kernel.get(0), kernel.get(1), kernel.get(2));
        }
        main.out().println(facts);
        main.out().print(kernels);
        return 0;
    }
}
