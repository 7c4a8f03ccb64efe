package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.EmbeddingConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j embed}. */
@Command(
        name = "embed",
        description = {
            "Gives texts vectors. Writes JSONL: each row as it is, plus \"embedding\" (a list of numbers). A row's own column"
                    + " of that name is kept as \"input_embedding\".",
            "",
            "How the rows of a text become one vector is the adapter's setting, else that of the model's modules.json, else their"
                    + " mean, not normalised."
        },
        footer = {
            "  peft4j embed --model models/all-MiniLM-L6-v2 \\",
            "      --data src/examples/data/spamassassin/test.jsonl --out embedded.jsonl",
            "  peft4j embed --model src/examples/data/stories260k --pooling last --normalize \\",
            "      --data src/examples/data/shakespeare/test.jsonl --out embedded.jsonl"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class EmbedCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Mixin
    private ModelUseOptions use;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            required = true,
            description = "Rows with a text: .jsonl, .csv or .tsv; - is standard input.")
    private Path data;

    @Option(
            names = "--out",
            paramLabel = "FILE",
            required = true,
            description = "The JSONL file to write; - is standard output.")
    private Path out;

    @Option(
            names = "--text",
            paramLabel = "COLUMN",
            description = "The column with the text (default: the one trained on, else text).")
    private @Nullable String text;

    @Option(
            names = "--pooling",
            paramLabel = "P",
            description = "mean, first or last (default: the adapter's, else the model's, else mean).")
    private @Nullable String pooling;

    @Option(
            names = "--normalize",
            negatable = true,
            description = "Scale vectors to length 1 (default: the adapter's, else the model's, else not).")
    private @Nullable Boolean normalize;

    private long rows;
    private long cut;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        Inputs.isData(data, "--data");
        RowsOutput.check(out, data);
        Map<String, @Nullable Object> settings = new HashMap<>();
        settings.put("text", text);
        settings.put("pooling", pooling);
        settings.put("normalize", normalize);
        try (CleanStop stop = new CleanStop();
                Opened opened = use.open(EmbeddingConfig.TYPE, settings, main.err())) {
            RowsOutput.write(
                    out,
                    main.out(),
                    to -> opened.answer(data, use.batchSize(), (row, said, wasCut) -> {
                        to.add(row, said);
                        rows++;
                        cut += wasCut ? 1 : 0;
                    }));
            ModelUseOptions.tellCut(cut, rows, opened.maxLength(), main.err());
        }
        main.err().println(rows + " rows");
        return 0;
    }
}
