package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.LoadedAdapter;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.error.ConfigException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j predict}. */
@Command(
        name = "predict",
        description = {
            "Classifies rows. Writes JSONL: each row as it is, plus \"label\" (the class; a list of them for a multi-label"
                    + " model, a number for a regression), \"logits\" and \"probabilities\" (one number for each class), or"
                    + " plus \"tags\" (one for each word; null where a word was cut). A row's own column of such a name is"
                    + " kept with \"input_\" before it. Of a Parallel (--compose) each branch adds its own, with its name before them:"
                    + " \"a.label\".",
            "",
            "The output file is whole or absent; a former one is replaced. Numbers that JSON does not have (NaN and Infinity in"
                    + " a row) are written as null."
        },
        footer = {
            "  peft4j predict --model models/all-MiniLM-L6-v2 --adapter runs/spam-lora \\",
            "      --data src/examples/data/spamassassin/test.jsonl --out predictions.jsonl",
            "  peft4j predict --model models/merged --data rows.csv --text body --out -"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class PredictCommand implements Callable<Integer> {
    private static final List<String> TASKS =
            List.of(SequenceClassificationConfig.TYPE, TokenClassificationConfig.TYPE);

    @ParentCommand
    private Main main;

    @Mixin
    private ModelUseOptions use;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            required = true,
            description = "Rows with a text, or with words: .jsonl, .csv, .tsv or .conll; - is standard input.")
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

    private final Map<String, Long> counts = new LinkedHashMap<>();
    private long rows;
    private long cut;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        Inputs.isData(data, "--data");
        RowsOutput.check(out, data);
        Map<String, @Nullable Object> columns = new HashMap<>();
        columns.put("text", text);
        try (CleanStop stop = new CleanStop();
                Opened opened = use.open(null, columns, main.err())) {
            for (LoadedAdapter adapter : opened.adapters()) {
                if (!TASKS.contains(adapter.task().type())) {
                    throw new ConfigException("the adapter was trained for the task "
                            + adapter.task().type() + ", not for one of " + TASKS
                            + "; peft4j embed gives embeddings, generate and score are for language models");
                }
            }
            LoadedAdapter one = opened.one();
            if (one != null) {
                one.labels().forEach(label -> counts.put(label, 0L));
            }
            RowsOutput.write(
                    out,
                    main.out(),
                    to -> opened.answer(data, use.batchSize(), (row, said, wasCut) -> {
                        to.add(row, said);
                        count(said);
                        rows++;
                        cut += wasCut ? 1 : 0;
                    }));
            ModelUseOptions.tellCut(cut, rows, opened.maxLength(), main.err());
        }
        main.err().println(rows + " rows" + (counts.isEmpty() ? "" : ": " + counts));
        return 0;
    }

    private void count(Map<String, @Nullable Object> said) {
        if (counts.isEmpty()) {
            return;
        }
        Object labels = said.getOrDefault("label", said.get("tags"));
        List<?> all = labels instanceof List<?> several ? several : List.of(String.valueOf(labels));
        all.forEach(label -> counts.computeIfPresent(String.valueOf(label), (name, n) -> n + 1));
    }
}
