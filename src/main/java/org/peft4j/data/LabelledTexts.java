package org.peft4j.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The tokenised texts of a file or a stream, each with its label as the file writes it. Rows are read once, from the front to the end,
 * so that it may be a pipe; what the labels mean is decided when all of them are known: {@link #dataset}.
 */
public final class LabelledTexts {
    private static final int ROWS_AT_ONCE = 512;
    private static final int CHARACTERS_AT_ONCE = 1 << 22;

    private final Path file;
    private final List<int[]> tokens = new ArrayList<>();
    private final List<String> labels = new ArrayList<>();
    private final List<Long> lines = new ArrayList<>();
    private final Map<String, Long> counts = new LinkedHashMap<>();
    private long cut;

    private LabelledTexts(Path file) {
        this.file = file;
    }

    /** Reads and tokenises a file; rows as in {@link RowReader}. */
    public static LabelledTexts read(Path file, String text, String label, TextTokenizer tokenizer) throws IOException {
        try (RowReader reader = RowReader.open(file, List.of(text, label))) {
            return read(reader, text, label, tokenizer);
        }
    }

    /** Reads and tokenises all rows that a reader gives. */
    public static LabelledTexts read(RowReader reader, String text, String label, TextTokenizer tokenizer)
            throws IOException {
        LabelledTexts all = new LabelledTexts(reader.file());
        List<String> texts = new ArrayList<>();
        long characters = 0;
        for (Row row = reader.next(); row != null; row = reader.next()) {
            texts.add(row.text(text));
            all.addLabel(row, label);
            characters += texts.get(texts.size() - 1).length();
            if (texts.size() == ROWS_AT_ONCE || characters > CHARACTERS_AT_ONCE) {
                all.addTexts(texts, tokenizer);
                characters = 0;
            }
        }
        all.addTexts(texts, tokenizer);
        return all;
    }

    private void addLabel(Row row, String column) {
        String label = row.label(column);
        if (counts.size() == Labels.MAX && !counts.containsKey(label)) {
            throw row.wrong("up to here more than " + Labels.MAX + " different labels in column '" + column
                    + "'; is it the label column?");
        }
        counts.merge(label, 1L, Long::sum);
        labels.add(label);
        lines.add(row.line());
    }

    /** Moves the texts to the tokens. */
    private void addTexts(List<String> texts, TextTokenizer tokenizer) {
        int first = tokens.size();
        for (TextTokenizer.Tokens encoded : tokenizer.encode(texts, i -> RowPlaces.where(file, lines.get(first + i)))) {
            tokens.add(encoded.tokens());
            cut += encoded.cut() ? 1 : 0;
        }
        texts.clear();
    }

    /** Where they come from, for messages. */
    public Path file() {
        return file;
    }

    /** How often each label occurs, as the file writes it. */
    public Map<String, Long> counts() {
        return new LinkedHashMap<>(counts);
    }

    /**
     * The texts with the index of each one's label.
     *
     * @throws org.peft4j.error.MalformedFileException if a label is none of the given; says in which line
     */
    public Dataset dataset(Labels classes) {
        List<Dataset.Example> examples = new ArrayList<>();
        for (int i = 0; i < tokens.size(); i++) {
            int label = classes.index(file, lines.get(i), labels.get(i));
            examples.add(new Dataset.Example(tokens.get(i), label, lines.get(i)));
        }
        return new Dataset(file, examples, cut);
    }
}
