package org.peft4j.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.data.TextTokenizer.WordTokens;

/**
 * The tokenised words of a file's or a stream's sentences, each word with its tag as the file writes it. Rows are read once,
 * from the front to the end; what the tags mean is decided when all of them are known: {@link #dataset}.
 */
public final class LabelledWords {
    private static final int ROWS_AT_ONCE = 512;

    @SuppressWarnings("ArrayRecordComponent") // never compared
    private record Sentence(WordTokens tokens, int[] tags, long line) {}

    private final Path file;
    private final List<Sentence> sentences = new ArrayList<>();
    private final Map<String, Integer> tags = new LinkedHashMap<>();
    private final List<Long> counts = new ArrayList<>();
    private long cutWords;

    private LabelledWords(Path file) {
        this.file = file;
    }

    /** Reads and tokenises a file; rows as in {@link RowReader}. */
    public static LabelledWords read(Path file, String words, String tags, TextTokenizer tokenizer) throws IOException {
        try (RowReader reader = RowReader.open(file, List.of(words, tags))) {
            return read(reader, words, tags, tokenizer);
        }
    }

    /** Reads and tokenises all rows that a reader gives. */
    public static LabelledWords read(RowReader reader, String words, String tags, TextTokenizer tokenizer)
            throws IOException {
        LabelledWords all = new LabelledWords(reader.file());
        List<Row> rows = new ArrayList<>();
        List<List<String>> texts = new ArrayList<>();
        List<int[]> numbers = new ArrayList<>();
        Row row;
        do {
            row = reader.next();
            if (row != null) {
                rows.add(row);
                texts.add(row.texts(words));
                numbers.add(all.numbers(row, words, tags));
            }
            if (row == null || rows.size() == ROWS_AT_ONCE) {
                all.addSentences(rows, texts, numbers, tokenizer);
            }
        } while (row != null);
        return all;
    }

    /** The tags of a row as numbers in the order of their first use. */
    private int[] numbers(Row row, String words, String column) {
        List<String> own = row.labelsOf(column);
        int expected = row.texts(words).size();
        if (own.size() != expected) {
            throw row.wrong("expected a tag for each of the " + expected + " words in column '" + column
                    + "', received " + own.size() + " tags");
        }
        if (own.isEmpty()) {
            throw row.wrong("expected words in column '" + words + "', received an empty list");
        }
        int[] numbers = new int[expected];
        for (int i = 0; i < expected; i++) {
            Integer known = tags.putIfAbsent(own.get(i), tags.size());
            numbers[i] = known == null ? tags.size() - 1 : known;
            if (known == null) {
                counts.add(0L);
            }
            if (tags.size() > Labels.MAX) {
                throw row.wrong("up to here more than " + Labels.MAX + " different tags in column '" + column
                        + "'; is it the tag column?");
            }
            counts.set(numbers[i], counts.get(numbers[i]) + 1);
        }
        return numbers;
    }

    /** Moves the rows to the sentences. */
    private void addSentences(List<Row> rows, List<List<String>> texts, List<int[]> numbers, TextTokenizer tokenizer) {
        List<WordTokens> encoded = tokenizer.encodeWords(texts, i -> rows.get(i).where());
        for (int i = 0; i < rows.size(); i++) {
            sentences.add(
                    new Sentence(encoded.get(i), numbers.get(i), rows.get(i).line()));
            cutWords += encoded.get(i).cutWords();
        }
        rows.clear();
        texts.clear();
        numbers.clear();
    }

    /** Where they come from, for messages. */
    public Path file() {
        return file;
    }

    /** How often each tag occurs, as the file writes it. */
    public Map<String, Long> counts() {
        Map<String, Long> all = new LinkedHashMap<>();
        tags.forEach((tag, number) -> all.put(tag, counts.get(number)));
        return all;
    }

    /**
     * The sentences with the index of each word's tag.
     *
     * @throws org.peft4j.error.MalformedFileException if a tag is none of the given; says in which line
     */
    public WordDataset dataset(Labels classes) {
        List<String> names = List.copyOf(tags.keySet());
        int[] indexes = new int[names.size()];
        Arrays.fill(indexes, -1);
        List<WordDataset.Example> examples = new ArrayList<>();
        for (Sentence sentence : sentences) {
            int[] own = new int[sentence.tags().length];
            for (int i = 0; i < own.length; i++) {
                int tag = sentence.tags()[i];
                if (indexes[tag] < 0) {
                    indexes[tag] = classes.index(file, sentence.line(), names.get(tag));
                }
                own[i] = indexes[tag];
            }
            examples.add(WordDataset.Example.of(sentence.tokens(), own, sentence.line()));
        }
        return new WordDataset(file, examples, cutWords);
    }
}
