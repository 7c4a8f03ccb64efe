package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.peft4j.config.CausalLmConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j score}. */
@Command(
        name = "score",
        description = {
            "Says how likely texts are. Writes JSONL: each row as it is, plus \"log_prob\" (the natural logarithm of the"
                    + " probability, a sum over the tokens that count) and \"tokens\" (how many do).",
            "",
            "A row has a text, of which every token counts that has one before it; a prompt and a response, tokenised by"
                    + " themselves, of which the response counts; or a conversation (messages), of which the assistant's"
                    + " turns do."
        },
        footer = {
            "  peft4j score --model src/examples/data/stories260k \\",
            "      --data src/examples/data/shakespeare/test.jsonl --out scored.jsonl"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class ScoreCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Mixin
    private ModelUseOptions use;

    @Mixin
    private RowOptions rowOptions;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            required = true,
            description =
                    "Rows with a text, a prompt and a response, or messages: .jsonl, .csv or .tsv; - is standard input.")
    private Path data;

    @Option(
            names = "--out",
            paramLabel = "FILE",
            required = true,
            description = "The JSONL file to write; - is standard output.")
    private Path out;

    private long rows;
    private long cut;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        Inputs.isData(data, "--data");
        RowsOutput.check(out, data);
        try (CleanStop stop = new CleanStop();
                Opened opened = use.open(CausalLmConfig.TYPE, rowOptions.settings(), main.err())) {
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
