package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.LoadedAdapter;
import org.peft4j.RowComposition;
import org.peft4j.error.ConfigException;
import org.peft4j.io.Streams;
import org.peft4j.metrics.Evaluation;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j evaluate}. */
@Command(
        name = "evaluate",
        description =
                "Measures a model on rows whose right answer is known; prints loss and the task's numbers (of a classifier"
                        + " accuracy, F1, the scores of each class and the confusion matrix) as JSON; of a Parallel (--compose) an"
                        + " object of them for each branch.",
        footer = {
            "  peft4j evaluate --model models/all-MiniLM-L6-v2 --adapter runs/spam-lora \\",
            "      --data src/examples/data/spamassassin/test.jsonl",
            "  peft4j evaluate --model models/merged --data rows.csv --text body --label class"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class EvaluateCommand implements Callable<Integer> {
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
            description = "Labelled rows: .jsonl, .csv or .tsv; - is standard input.")
    private Path data;

    @Option(
            names = "--text",
            paramLabel = "COLUMN",
            description = "The column with the text (default: the one trained on, else text).")
    private @Nullable String text;

    @Option(
            names = "--label",
            paramLabel = "COLUMN",
            description = "The column with the label (default: the one trained on, else label).")
    private @Nullable String label;

    @Override
    public Integer call() throws IOException {
        Inputs.isData(data, "--data");
        Map<String, @Nullable Object> columns = rowOptions.settings();
        columns.put("text", text);
        columns.put("label", label);
        try (Opened opened = use.open(null, columns, main.err())) {
            RowComposition shared = opened.shared();
            if (shared != null && shared.rows() == 0) {
                main.out().println(JsonOutput.pretty(branches(shared)));
            } else {
                main.out().println(JsonOutput.pretty(evaluation(opened.adapter("evaluate"))));
            }
        }
        return 0;
    }

    /** Of each branch its own, by its name. */
    private Map<String, Object> branches(RowComposition all) throws IOException {
        if (Streams.isStandardInput(data) && all.branches().size() > 1) {
            throw new ConfigException(
                    "--data - can be read once, and each branch of " + all + " reads it; give a file");
        }
        Map<String, Object> evaluations = new LinkedHashMap<>();
        for (int i = 0; i < all.branches().size(); i++) {
            evaluations.put(all.branches().get(i), evaluation(all.adapters(i).get(0)));
        }
        return evaluations;
    }

    private Map<String, Object> evaluation(LoadedAdapter adapter) throws IOException {
        Evaluation evaluation = adapter.evaluate(data, use.batchSize());
        ModelUseOptions.tellCut(evaluation.cut(), evaluation.examples(), adapter.maxLength(), main.err());
        return evaluation.toMap();
    }
}
