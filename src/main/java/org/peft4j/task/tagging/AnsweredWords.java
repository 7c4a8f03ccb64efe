package org.peft4j.task.tagging;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.data.Labels;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.WordTokens;
import org.peft4j.error.MalformedFileException;
import org.peft4j.metrics.EntityScores;
import org.peft4j.task.Dataset;
import org.peft4j.task.RowBlocks;
import org.peft4j.task.TaskOfRow;

/** The tokenised words of a file with their tags as the file writes them; read once, what tags mean is decided behind. */
final class AnsweredWords {
    private final Path file;
    private final List<WordTokens> tokens = new ArrayList<>();
    private final List<List<String>> tags = new ArrayList<>();
    private final List<Integer> tasks = new ArrayList<>();
    private final List<Long> lines = new ArrayList<>();
    private final Map<String, Long> counts = new LinkedHashMap<>();

    private AnsweredWords(Path file) {
        this.file = file;
    }

    static AnsweredWords read(RowReader reader, TokenClassificationConfig config, TextTokenizer tokenizer)
            throws IOException {
        AnsweredWords all = new AnsweredWords(reader.file());
        RowBlocks.read(
                reader,
                row -> all.add(row, config),
                rows -> all.tokens.addAll(TokenClassification.tokens(config, rows, tokenizer)));
        return all;
    }

    /** Returns the number of characters. */
    private long add(Row row, TokenClassificationConfig config) {
        List<String> words = row.texts(config.words());
        List<String> own = row.labelsOf(config.tags());
        if (words.size() != own.size()) {
            throw row.wrong("expected a tag for each word, received " + words.size() + " words in column '"
                    + config.words() + "' and " + own.size() + " tags in column '" + config.tags() + "'");
        }
        if (words.isEmpty()) {
            throw row.wrong("expected at least one word in column '" + config.words() + "', received none");
        }
        for (String tag : own) {
            if (counts.size() == Labels.MAX && !counts.containsKey(tag)) {
                throw new MalformedFileException(
                        file,
                        -1,
                        "more than " + Labels.MAX + " different tags in column '" + config.tags() + "' up to line "
                                + row.line() + "; is it the column of the tags?");
            }
            counts.merge(tag, 1L, Long::sum);
        }
        tags.add(own);
        tasks.add(TaskOfRow.of(row, config));
        lines.add(row.line());
        return words.stream().mapToLong(String::length).sum();
    }

    Path file() {
        return file;
    }

    /** Number of rows. */
    int size() {
        return lines.size();
    }

    /** Rows whose tags are no BIO sequence; all tags are among the classes. */
    long malformedBio(Labels classes) {
        EntityScores scores = new EntityScores();
        for (int i = 0; i < tags.size(); i++) {
            long line = lines.get(i);
            List<String> names = tags.get(i).stream()
                    .map(tag -> classes.names().get(classes.index(file, line, tag)))
                    .toList();
            scores.add(names, names);
        }
        return scores.malformedGold();
    }

    /** How often each tag occurs, as the file writes it. */
    Map<String, Long> counts() {
        return new LinkedHashMap<>(counts);
    }

    /**
     * The words with their tags' numbers.
     *
     * @throws MalformedFileException if a tag is none of the given; says in which line
     */
    Dataset<TaggedExample> dataset(Labels classes) {
        List<TaggedExample> examples = new ArrayList<>();
        Map<String, Long> named = new LinkedHashMap<>();
        classes.names().forEach(name -> named.put(name, 0L));
        for (int i = 0; i < tokens.size(); i++) {
            int[] labels = new int[tags.get(i).size()];
            for (int w = 0; w < labels.length; w++) {
                labels[w] = classes.index(file, lines.get(i), tags.get(i).get(w));
                named.merge(classes.names().get(labels[w]), 1L, Long::sum);
            }
            examples.add(TokenClassification.example(tokens.get(i), labels.length, labels, tasks.get(i), lines.get(i)));
        }
        return new Dataset<>(file, examples, named);
    }
}
