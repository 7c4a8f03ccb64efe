package org.peft4j.cli;

import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.peft4j.info.Machine;
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
        main.out().println(table(Machine.system())); // shown where the natives cannot be loaded, too
        main.out().println(table(Machine.facts()));
        List<String> devices = Machine.devices();
        for (String device : devices) {
            main.out().println(table("on " + device, Machine.kernels(device)));
        }
        if (devices.size() == 1) {
            main.out().println(table("on a card", Machine.cudaKernels()));
        }
        return 0;
    }

    private static TextTable table(Map<String, String> facts) {
        TextTable table = new TextTable("fact", "value");
        facts.forEach((name, value) -> table.row(name, value));
        return table;
    }

    private static TextTable table(String where, List<List<String>> kernels) {
        TextTable table = new TextTable("operation " + where, "kernel", "why");
        kernels.forEach(kernel -> table.row(kernel.get(0), kernel.get(1), kernel.get(2)));
        return table;
    }
}
