package org.peft4j.cli;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.TextGenerator;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.error.ConfigException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j generate}. */
@Command(
        name = "generate",
        description = {
            "Continues texts. With --prompt the continuation alone goes to standard output as it comes, or as a row to --out. With"
                    + " --data it writes JSONL: each row as it is, plus \"output\" (the continuation) and \"output_ids\" (its"
                    + " tokens).",
            "",
            "Greedy, unless --temperature is above 0. It ends at the tokens that the model's generation_config.json or config.json"
                    + " names."
        },
        footer = {
            "  peft4j generate --model src/examples/data/stories260k --prompt Once --max-new-tokens 60",
            "  peft4j generate --model src/examples/data/stories260k --adapter runs/shakespeare-lora \\",
            "      --prompt KING: --temperature 0.7 --seed 1"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class GenerateCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Mixin
    private ModelUseOptions use;

    @Option(names = "--prompt", paramLabel = "TEXT", description = "The text to continue.")
    private @Nullable String prompt;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description = "Rows with a prompt (or a text): .jsonl, .csv or .tsv; - is standard input.")
    private @Nullable Path data;

    @Option(names = "--out", paramLabel = "FILE", description = "The JSONL file to write; - is standard output.")
    private @Nullable Path out;

    @Option(
            names = "--max-new-tokens",
            paramLabel = "N",
            defaultValue = "128",
            description = "The most tokens for a prompt (default ${DEFAULT-VALUE}).")
    private int maxNewTokens;

    @Option(
            names = "--temperature",
            paramLabel = "T",
            defaultValue = "0",
            description = "Draw tokens, with logits divided by this; 0 takes the likeliest (default ${DEFAULT-VALUE}).")
    private double temperature;

    @Option(
            names = "--top-k",
            paramLabel = "K",
            defaultValue = "0",
            description = "Draw from the K likeliest tokens; 0: from all (default ${DEFAULT-VALUE}).")
    private int topK;

    @Option(
            names = "--top-p",
            paramLabel = "P",
            defaultValue = "1",
            description =
                    "Draw from the likeliest tokens that have this probability together (default ${DEFAULT-VALUE}).")
    private double topP;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Of the draws (default ${DEFAULT-VALUE}).")
    private long seed;

    @Option(
            names = "--stop",
            paramLabel = "TEXT",
            description = "A text at which a continuation ends; may be repeated.")
    private List<String> stop = List.of();

    private long written;

    @Override
    @SuppressWarnings("try") // clean is there to be closed
    public Integer call() throws IOException {
        if ((prompt == null) == (data == null)) {
            throw new ConfigException("give --prompt or --data, one of them");
        }
        if (data != null && out == null) {
            throw new ConfigException("--data needs --out, the JSONL file to write; - is standard output");
        }
        if (data != null) {
            Inputs.isData(data, "--data");
        }
        if (out != null && data != null) {
            RowsOutput.check(out, data);
        }
        TextGenerator.Options options = TextGenerator.Options.defaults()
                .withMaxNewTokens(maxNewTokens)
                .withTemperature(temperature)
                .withTopK(topK)
                .withTopP(topP)
                .withSeed(seed)
                .withStop(stop);
        try (CleanStop clean = new CleanStop();
                ModelUseOptions.Opened opened = use.open(CausalLmConfig.TYPE, new HashMap<>(), main.err())) {
            TextGenerator generator = TextGenerator.of(opened.adapter());
            if (prompt != null && out == null) {
                generator.generate(List.of(prompt), options, listener(main.out(), main.err()));
                main.out().println();
            } else {
                rows(generator, (CausalLmConfig) opened.adapter().task(), options);
            }
        }
        return 0;
    }

    private static TextGenerator.Listener listener(@Nullable PrintStream out, PrintStream err) {
        return new TextGenerator.Listener() {
            @Override
            public void text(int number, String piece) {
                if (out != null) {
                    out.print(piece);
                    out.flush();
                }
            }

            @Override
            public void note(String text) {
                err.println("note: " + text);
            }
        };
    }

    private void rows(TextGenerator generator, CausalLmConfig task, TextGenerator.Options options) throws IOException {
        RowsOutput.write(Objects.requireNonNull(out), main.out(), to -> {
            if (data != null) {
                generator.generate(
                        data,
                        options,
                        (row, said) -> add(to, row, said),
                        text -> main.err().println("note: " + text));
            } else {
                Map<String, @Nullable Object> row = new LinkedHashMap<>();
                row.put(task.prompt(), prompt);
                add(
                        to,
                        row,
                        generator
                                .generate(List.of(String.valueOf(prompt)), options, listener(null, main.err()))
                                .get(0));
            }
        });
        main.err().println(written + " rows");
    }

    private void add(RowsOutput to, Map<String, @Nullable Object> row, TextGenerator.Continuation said) {
        Map<String, @Nullable Object> columns = new LinkedHashMap<>();
        columns.put("output", said.text());
        columns.put("output_ids", said.ids());
        to.add(row, columns);
        written++;
    }
}
