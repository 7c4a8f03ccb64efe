package org.peft4j.task.classification;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.ProblemType;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.data.Labels;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.HeadKind;
import org.peft4j.task.Dataset;
import org.peft4j.task.Origin;
import org.peft4j.task.OutputLabels;
import org.peft4j.task.ShownRow;
import org.peft4j.task.TaskType;

/** Sequence classification: which problem it is, and what the outputs are called. */
public final class SequenceClassificationType implements TaskType<SequenceClassificationConfig> {
    static final String PEFT_NAME = "SEQ_CLS";
    private static final String PROBLEM = "problem_type";

    @Override
    public String name() {
        return SequenceClassificationConfig.TYPE;
    }

    @Override
    public String peftName() {
        return PEFT_NAME;
    }

    @Override
    public Optional<String> architectureSuffix() {
        return Optional.of("ForSequenceClassification");
    }

    @Override
    public Class<SequenceClassificationConfig> configType() {
        return SequenceClassificationConfig.class;
    }

    @Override
    public SequenceClassificationConfig defaults() {
        return SequenceClassificationConfig.defaults();
    }

    private static OutputLabels outputs(Origin origin) {
        SequenceClassificationConfig saved = origin.saved(SequenceClassificationConfig.class);
        return new OutputLabels(
                origin.directory(),
                origin.adapter(),
                saved == null ? List.of() : saved.labels(),
                origin.layout(HeadKind.SEQUENCE).outputPath());
    }

    @Override
    public Prepared<?> prepare(
            SequenceClassificationConfig config,
            Origin origin,
            Rows train,
            @Nullable Rows validation,
            TextTokenizer tokenizer)
            throws IOException {
        OutputLabels outputs = outputs(origin);
        ProblemType problem = problem(config, origin, outputs.outputs(config.newHead()));
        List<String> columns = SequenceClassification.answeredColumns(config);
        AnsweredTexts rows = read(train, columns, config, problem, tokenizer);
        AnsweredTexts validationRows =
                validation == null ? null : read(validation, columns, config, problem, tokenizer);
        Labels labels = problem == ProblemType.REGRESSION
                ? regression(outputs.outputs(config.newHead()), origin)
                : outputs.forTraining(config.labels(), config.newHead(), rows.file(), rows.counts(), origin.notes());
        SequenceClassification task = decided(config, problem, labels, config.newHead() || outputs.adapterHead() > 0);
        Dataset<ClassExample> data = rows.dataset(problem, labels);
        return new Prepared<>(task, data, validationRows == null ? null : validationRows.dataset(problem, labels));
    }

    private static AnsweredTexts read(
            Rows rows,
            List<String> columns,
            SequenceClassificationConfig config,
            ProblemType problem,
            TextTokenizer tokenizer)
            throws IOException {
        try (RowReader reader = rows.open(columns)) {
            return AnsweredTexts.read(reader, config, problem, tokenizer);
        }
    }

    @Override
    public SequenceClassification use(SequenceClassificationConfig config, Origin origin) {
        OutputLabels outputs = outputs(origin);
        int has = outputs.outputs(false);
        ProblemType problem = problem(config, origin, has);
        Labels labels = problem == ProblemType.REGRESSION ? regression(has, origin) : outputs.forUse(config.labels());
        return decided(config, problem, labels, outputs.adapterHead() > 0);
    }

    @Override
    public ShownRow.Viewer viewer(
            SequenceClassificationConfig config, ModelDirectory directory, @Nullable AdapterFile adapter) {
        String pair = config.textPair();
        return (rows, tokenizer) -> {
            List<Tokens> tokens = SequenceClassification.tokens(config, rows, tokenizer);
            return IntStream.range(0, rows.size())
                    .mapToObj(i -> ShownRow.whole(
                            rows.get(i).text(config.text())
                                    + (pair == null ? "" : "\n" + rows.get(i).text(pair)),
                            tokens.get(i).tokens(),
                            "the loss is of the row's label, not of its tokens"))
                    .toList();
        };
    }

    private static SequenceClassification decided(
            SequenceClassificationConfig config, ProblemType problem, Labels labels, boolean headAnew) {
        boolean regression = problem == ProblemType.REGRESSION;
        SequenceClassificationConfig decided = config.toBuilder()
                .problem(problem)
                .labels(regression ? List.of() : labels.names())
                .build();
        return new SequenceClassification(decided, labels, regression ? 1 : labels.size(), headAnew);
    }

    private static Labels regression(int outputs, Origin origin) {
        if (outputs > 1) {
            throw new ConfigException("regression gives one number for a row, but the head of "
                    + (origin.adapter() == null
                            ? origin.directory().directory()
                            : origin.adapter().directory())
                    + " has " + outputs + " outputs; train a new head: task.new_head: true (--set task.new_head=true)");
        }
        return Labels.NONE;
    }

    /** What the caller says, else what stands beside the adapter, else the model's config, else one output is a number. */
    private static ProblemType problem(SequenceClassificationConfig config, Origin origin, int outputs) {
        SequenceClassificationConfig saved = origin.saved(SequenceClassificationConfig.class);
        ProblemType kept = saved == null ? null : saved.problem();
        ProblemType asked = config.problem();
        if (asked != null && kept != null && asked != kept) {
            throw new ConfigException("task.problem is " + name(asked) + ", but the adapter was trained as "
                    + name(kept) + " and stays that; leave problem out, or train without an adapter to start from");
        }
        if (asked != null || kept != null) {
            return asked != null ? asked : kept;
        }
        Object value = origin.directory().config().get(PROBLEM);
        if (value != null && !config.newHead()) {
            return Arrays.stream(ProblemType.values())
                    .filter(type -> name(type).equals(value))
                    .findFirst()
                    .orElseThrow(() -> new MalformedFileException(
                            origin.directory().configFile(),
                            -1,
                            PROBLEM + " must be one of "
                                    + Arrays.stream(ProblemType.values())
                                            .map(SequenceClassificationType::name)
                                            .toList()
                                    + ", got " + Json.shown(value)));
        }
        return outputs == 1 ? ProblemType.REGRESSION : ProblemType.SINGLE_LABEL;
    }

    private static String name(ProblemType type) {
        return type.fileName();
    }
}
