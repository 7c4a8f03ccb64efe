package org.peft4j.cli;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
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
                    + " tokens), with --log-probs \"log_probs\", too. With --n above 1 these are in a list, \"outputs\", of an object"
                    + " for each answer.",
            "",
            "Rows may have all forms that training takes, with or without an answer, which is not given: a text, a prompt,"
                    + " messages, conversations, an instruction. A conversation is rendered by the chat template, up to what"
                    + " stands before an answer, and its answer also ends where the template ends a turn.",
            "",
            "Greedy, unless --temperature is above 0 or --beams above 1. It ends at the tokens that the model's"
                    + " generation_config.json or config.json names; what the first suggests beside it counts with"
                    + " --generation-config. What changes the model's distribution works in this order, as in transformers:"
                    + " repetition, frequency and presence penalty, temperature, top-k, top-p, min-p.",
            "",
            "Rows join and leave what is computed together as they come and end (--batch-size answers at once, a beam counts as"
                    + " one); a row's result does not depend on the others."
        },
        footer = {
            "  peft4j generate --model src/examples/data/stories260k --prompt Once --max-new-tokens 60",
            "  peft4j generate --model src/examples/data/stories260k --adapter runs/shakespeare-lora \\",
            "      --prompt KING: --temperature 0.7 --seed 1",
            "  peft4j generate --model models/SmolLM2-135M --data prompts.jsonl --out answers.jsonl --beams 4 --n 2 --log-probs",
            "  peft4j generate --model models/Qwen3-0.6B --data chats.jsonl --out answers.jsonl --generation-config"
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
            description = "Rows with a prompt, a text or messages: .jsonl, .csv or .tsv; - is standard input.")
    private @Nullable Path data;

    @Option(names = "--out", paramLabel = "FILE", description = "The JSONL file to write; - is standard output.")
    private @Nullable Path out;

    @Mixin
    private FormOptions form;

    @Mixin
    private GenerationOptions options;

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
        options.check(
                out != null ? null : "needs --out, because without it the text alone is written; - is standard output");
        try (CleanStop clean = new CleanStop();
                Opened opened = use.open(CausalLmConfig.TYPE, form.settings(), main.err())) {
            TextGenerator generator = TextGenerator.of(opened.adapter("generate"));
            TextGenerator.Options asked =
                    options.of(generator, use.batchSize(), note -> main.err().println("note: " + note));
            if (prompt != null && out == null) {
                generator.generate(List.of(prompt), asked, listener(main.out(), main.err()));
                main.out().println();
            } else {
                rows(generator, (CausalLmConfig) opened.adapter("generate").task(), asked);
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

    private void rows(TextGenerator generator, CausalLmConfig task, TextGenerator.Options asked) throws IOException {
        RowsOutput.write(Objects.requireNonNull(out), main.out(), to -> {
            if (data != null) {
                generator.answers(
                        data,
                        asked,
                        (row, said) -> add(to, row, said),
                        text -> main.err().println("note: " + text));
            } else {
                Map<String, @Nullable Object> row = new LinkedHashMap<>();
                row.put(task.prompt(), prompt);
                add(
                        to,
                        row,
                        generator
                                .answers(List.of(String.valueOf(prompt)), asked, listener(null, main.err()))
                                .get(0));
            }
        });
        main.err().println(written + " rows");
    }

    private void add(RowsOutput to, Map<String, @Nullable Object> row, List<TextGenerator.Continuation> said) {
        to.add(row, said.size() == 1 ? columns(said.get(0)) : several(said));
        written++;
    }

    private static Map<String, @Nullable Object> several(List<TextGenerator.Continuation> said) {
        Map<String, @Nullable Object> columns = new LinkedHashMap<>();
        columns.put("outputs", said.stream().map(GenerateCommand::columns).toList());
        return columns;
    }

    private static Map<String, @Nullable Object> columns(TextGenerator.Continuation said) {
        Map<String, @Nullable Object> columns = new LinkedHashMap<>();
        columns.put("output", said.text());
        columns.put("output_ids", said.ids());
        if (said.logProbs() != null) {
            columns.put("log_probs", said.logProbs());
        }
        return columns;
    }
}
