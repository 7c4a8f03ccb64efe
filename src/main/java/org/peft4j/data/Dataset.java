package org.peft4j.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.IntFunction;
import org.peft4j.error.ConfigException;

/**
 * Tokenised examples of a classification task, in the order of the file.
 *
 * @param file where they come from
 * @param examples tokens and label of each row
 * @param cut how many texts were longer than the tokenizer's limit
 */
public record Dataset(Path file, List<Example> examples, long cut) {
    /**
     * One text.
     *
     * @param tokens special tokens included; not to be changed
     * @param label index into the labels
     * @param line of the file, or place in the stream, from 1
     */
    @SuppressWarnings("ArrayRecordComponent") // a list of boxes would take five times the memory
    public record Example(int[] tokens, int label, long line) {
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

    /** {@code "train.jsonl, line 12"} or {@code "row 12 of the stream"}, for messages. */
    public String where(int example) {
        return RowPlaces.where(file, examples.get(example).line());
    }

    /**
     * Refuses tokens that a model does not have.
     *
     * @param vocabulary tokens are below it
     * @throws ConfigException naming the first such row
     */
    public void checkVocabulary(int vocabulary) {
        for (int i = 0; i < size(); i++) {
            checkVocabulary(examples.get(i).tokens(), vocabulary, this::where, i);
        }
    }

    /** The same for one text, which {@code where} names for the message. */
    public static void checkVocabulary(int[] tokens, int vocabulary, IntFunction<String> where, int text) {
        for (int token : tokens) {
            if (token < 0 || token >= vocabulary) {
                throw new ConfigException(where.apply(text) + ": the text has the token " + token
                        + ", but the model's embedding has only " + vocabulary
                        + " rows; does the tokenizer belong to this model?");
            }
        }
    }

    /** Reads and tokenises a file; rows as in {@link RowReader}. */
    public static Dataset read(Path file, String text, String label, Labels labels, TextTokenizer tokenizer)
            throws IOException {
        return LabelledTexts.read(file, text, label, tokenizer).dataset(labels);
    }
}
