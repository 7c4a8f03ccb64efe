package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.info.MethodOverview;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j methods}. */
@Command(
        name = "methods",
        description =
                "Lists every method: what it trains, how many parameters, whether it can be merged, whose files it"
                        + " reads and writes.",
        footer = {"  peft4j methods", "  peft4j methods --model models/all-MiniLM-L6-v2"})
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class MethodsCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Option(
            names = "--model",
            paramLabel = "DIR",
            description = "Counts the parameters for this model, with the method's default settings, without the head.")
    private @Nullable Path model;

    @Override
    public Integer call() throws IOException {
        Inputs.exists(model, "--model");
        TextTable table = model == null
                ? new TextTable("method", "trains", "merge", "files")
                : new TextTable("method", "trains", "parameters", "with", "merge", "files");
        List<MethodOverview> methods = MethodOverview.all(model);
        for (MethodOverview method : methods) {
            String merge = method.mergeable() ? "yes" : "no";
            if (model == null) {
                table.row(method.name(), method.summary(), merge, method.fileFormat());
            } else {
                String parameters =
                        method.parameters() == null ? "" : String.format(Locale.ROOT, "%,d", method.parameters());
                table.row(method.name(), method.summary(), parameters, method.settings(), merge, method.fileFormat());
            }
        }
        main.out().print(table);
        methods.stream()
                .filter(method -> !method.mergeable())
                .forEach(method ->
                        main.out().println("\n" + method.name() + " cannot be merged: " + method.mergeRefusal()));
        return 0;
    }
}
