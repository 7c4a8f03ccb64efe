package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.peft4j.Combine;
import org.peft4j.error.ConfigException;
import org.peft4j.method.lora.Combination;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j combine}. */
@Command(
        name = "combine",
        description = "Makes one LoRA adapter of several, each with a weight.",
        footer = {
            "  peft4j combine --adapter runs/anna=0.7 --adapter runs/ben=0.3 --out runs/both",
            "  peft4j combine --adapter runs/anna=1 --adapter runs/ben=1 --type ties_svd --density 0.2 --rank 16 --out runs/both",
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class CombineCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Option(
            names = "--adapter",
            paramLabel = "DIR=WEIGHT",
            required = true,
            description = "A LoRA adapter's directory and what its update is multiplied with; once for each.")
    private List<String> adapters;

    @Option(
            names = "--type",
            paramLabel = "TYPE",
            description =
                    "linear, cat, svd (the default), ties, dare_linear, dare_ties, magnitude_prune; the last four also"
                            + " with _svd, of whole updates and not of A and B.")
    private String type = "svd";

    @Option(
            names = "--rank",
            paramLabel = "K",
            description = "With svd: the rank. Without it the largest of the adapters'.")
    private int rank;

    @Option(
            names = "--density",
            paramLabel = "P",
            description = "The part of the values that is kept by ties, dare, magnitude_prune.")
    private double density = 1;

    @Option(
            names = "--sign-of-most",
            description = "With ties: the sign of most adapters, in place of the sign of their sum.")
    private boolean signOfMost;

    @Option(names = "--seed", paramLabel = "N", description = "Of the values that dare leaves out.")
    private long seed;

    @Option(names = "--out", paramLabel = "DIR", required = true, description = "The adapter directory to make.")
    private Path out;

    @Option(names = "--overwrite", description = "Replace the directory, with all that is in it.")
    private boolean overwrite;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        Combine combine = Combine.adapters();
        try (CleanStop stop = new CleanStop()) {
            for (String adapter : adapters) {
                int split = adapter.lastIndexOf('=');
                if (split <= 0) {
                    throw new ConfigException(
                            "--adapter must be DIR=WEIGHT, such as runs/anna=0.5, got '" + adapter + "'");
                }
                Path directory = Path.of(adapter.substring(0, split));
                Inputs.exists(directory, "--adapter");
                combine.add(directory, weight(adapter, split));
            }
            combine.by(type())
                    .rank(rank)
                    .density(density)
                    .signOfMost(signOfMost)
                    .seed(seed);
            combine.write(out, overwrite);
        } catch (IllegalArgumentException e) {
            throw new ConfigException(String.valueOf(e.getMessage()), e);
        }
        main.err().println("wrote the LoRA adapter to " + out);
        return 0;
    }

    private static double weight(String adapter, int split) {
        try {
            return Double.parseDouble(adapter.substring(split + 1));
        } catch (NumberFormatException e) {
            throw new ConfigException("--adapter must be DIR=WEIGHT, such as runs/anna=0.5, got '" + adapter + "'", e);
        }
    }

    private Combination type() {
        for (Combination one : Combination.values()) {
            if (one.name().toLowerCase(Locale.ROOT).equals(type)) {
                return one;
            }
        }
        throw new ConfigException("--type must be one of "
                + List.of(Combination.values()).stream()
                        .map(one -> one.name().toLowerCase(Locale.ROOT))
                        .toList()
                + ", got '" + type + "'");
    }
}
