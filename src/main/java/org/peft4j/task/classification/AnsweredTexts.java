package org.peft4j.task.classification;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.config.ProblemType;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.data.Labels;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.error.MalformedFileException;
import org.peft4j.task.Dataset;
import org.peft4j.task.RowBlocks;
import org.peft4j.task.TaskOfRow;

/**
 * The tokenised rows of a file with their answers as the file writes them. A file is read once, from front to end, so that it
 * may be a pipe; what labels mean is decided when all of them are known: {@link #dataset}.
 */
final class AnsweredTexts {
    private final Path file;
    private final List<Tokens> tokens = new ArrayList<>();
    private final List<Long> lines = new ArrayList<>();
    private final List<List<String>> labels = new ArrayList<>();
    private final List<Integer> tasks = new ArrayList<>();
    private final List<Float> numbers = new ArrayList<>();
    private final Map<String, Long> counts = new LinkedHashMap<>();

    private AnsweredTexts(Path file) {
        this.file = file;
    }

    static AnsweredTexts read(
            RowReader reader, SequenceClassificationConfig config, ProblemType problem, TextTokenizer tokenizer)
            throws IOException {
        AnsweredTexts all = new AnsweredTexts(reader.file());
        String pair = config.textPair();
        RowBlocks.read(
                reader,
                row -> {
                    all.add(row, config, problem);
                    return row.text(config.text()).length()
                            + (pair == null ? 0 : row.text(pair).length());
                },
                rows -> all.tokens.addAll(SequenceClassification.tokens(config, rows, tokenizer)));
        return all;
    }

    private void add(Row row, SequenceClassificationConfig config, ProblemType problem) {
        String column = config.label();
        lines.add(row.line());
        tasks.add(TaskOfRow.of(row, config));
        switch (problem) {
            case SINGLE_LABEL -> labels.add(List.of(counted(row.label(column), row, column)));
            case MULTI_LABEL ->
                labels.add(row.labelsOf(column).stream()
                        .distinct()
                        .map(label -> counted(label, row, column))
                        .toList());
            case REGRESSION -> {
                double number = row.number(column);
                if (!Float.isFinite((float) number)) {
                    throw row.wrong(
                            "expected a number that float32 holds in column '" + column + "', received " + number);
                }
                numbers.add((float) number);
            }
        }
    }

    private String counted(String label, Row row, String column) {
        if (counts.size() == Labels.MAX && !counts.containsKey(label)) {
            throw new MalformedFileException(
                    file,
                    -1,
                    "more than " + Labels.MAX + " different labels in column '" + column + "' up to line " + row.line()
                            + "; is it the label column?");
        }
        counts.merge(label, 1L, Long::sum);
        return label;
    }

    Path file() {
        return file;
    }

    /** How often each label occurs, as the file writes it. */
    Map<String, Long> counts() {
        return new LinkedHashMap<>(counts);
    }

    /**
     * The texts with what is right.
     *
     * @throws MalformedFileException if a label is none of the given; says in which line
     */
    Dataset<ClassExample> dataset(ProblemType problem, Labels classes) {
        List<ClassExample> examples = new ArrayList<>();
        long[] byOutput = new long[classes.size()];
        for (int i = 0; i < tokens.size(); i++) {
            long line = lines.get(i);
            int task = tasks.get(i);
            examples.add(
                    switch (problem) {
                        case SINGLE_LABEL -> {
                            int label = classes.index(file, line, labels.get(i).get(0));
                            byOutput[label]++;
                            yield new ClassExample(tokens.get(i), label, ClassExample.NONE, task, line);
                        }
                        case MULTI_LABEL -> {
                            float[] values = new float[classes.size()];
                            for (String name : labels.get(i)) {
                                int label = classes.index(file, line, name);
                                byOutput[label] += values[label] == 0 ? 1 : 0;
                                values[label] = 1;
                            }
                            yield new ClassExample(tokens.get(i), -1, values, task, line);
                        }
                        case REGRESSION ->
                            new ClassExample(tokens.get(i), -1, new float[] {numbers.get(i)}, task, line);
                    });
        }
        Map<String, Long> named = new LinkedHashMap<>();
        if (problem != ProblemType.REGRESSION) {
            for (int c = 0; c < byOutput.length; c++) {
                named.put(classes.names().get(c), byOutput[c]);
            }
        }
        return new Dataset<>(file, examples, named);
    }
}
