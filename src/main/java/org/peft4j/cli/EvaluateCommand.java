package org.peft4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
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
                        + " accuracy, F1, the scores of each class and the confusion matrix) as JSON.",
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
        try (ModelUseOptions.Opened opened = use.open(null, columns, main.err())) {
            Evaluation evaluation = opened.adapter().evaluate(data, use.batchSize());
            ModelUseOptions.tellCut(evaluation.cut(), evaluation.examples(), opened.adapter(), main.err());
            main.out().println(JsonOutput.pretty(evaluation.toMap()));
        }
        return 0;
    }
}
