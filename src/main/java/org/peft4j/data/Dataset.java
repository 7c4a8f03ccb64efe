package org.peft4j.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Tokenised examples of a classification task, in the order of the file.
 *
 * @param examples tokens and label of each row
 * @param cut how many texts were longer than the tokenizer's limit
 */
public record Dataset(List<Example> examples, long cut) {
    private static final int CHUNK = 512;

    /**
     * One text.
     *
     * @param tokens special tokens included; not to be changed
     * @param label index into the labels
     */
    @SuppressWarnings("ArrayRecordComponent") // a list of boxes would take five times the memory
    public record Example(int[] tokens, int label) {
        /** Number of tokens. */
        public int length() {
            return tokens.length;
        }
    }

    public Dataset {
        examples = List.copyOf(examples);
    }

    public int size() {
        return examples.size();
    }

    /** Tokens of all examples. */
    public long tokens() {
        return examples.stream().mapToLong(Example::length).sum();
    }

    /** Reads and tokenises a file; rows as in {@link RowReader}. */
    public static Dataset read(Path file, String text, String label, Labels labels, TextTokenizer tokenizer)
            throws IOException {
        List<Example> examples = new ArrayList<>();
        List<String> texts = new ArrayList<>();
        List<Integer> indexes = new ArrayList<>();
        long cut = 0;
        try (RowReader reader = RowReader.open(file, text, label)) {
            for (Row row = reader.next(); row != null; row = reader.next()) {
                texts.add(row.text());
                indexes.add(labels.index(row));
                if (texts.size() == CHUNK) {
                    cut += add(examples, texts, indexes, tokenizer);
                }
            }
        }
        cut += add(examples, texts, indexes, tokenizer);
        return new Dataset(examples, cut);
    }

    /** Moves the texts to the examples; returns how many were cut. */
    private static long add(
            List<Example> examples, List<String> texts, List<Integer> indexes, TextTokenizer tokenizer) {
        List<TextTokenizer.Tokens> encoded = tokenizer.encode(texts);
        for (int i = 0; i < encoded.size(); i++) {
            examples.add(new Example(encoded.get(i).tokens(), indexes.get(i)));
        }
        texts.clear();
        indexes.clear();
        return encoded.stream().filter(TextTokenizer.Tokens::cut).count();
    }
}
