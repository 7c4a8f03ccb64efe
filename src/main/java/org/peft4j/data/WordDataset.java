package org.peft4j.data;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.peft4j.data.TextTokenizer.WordTokens;

/**
 * Tokenised sentences whose words have tags, in the order of the file.
 *
 * @param file where they come from
 * @param examples tokens and targets of each sentence
 * @param cutWords how many words lost all their tokens to the tokenizer's limit
 */
public record WordDataset(Path file, List<Example> examples, long cutWords) {
    /** The target of a token that has none: special tokens, and all but the first of a word. */
    public static final int NO_TARGET = -100;

    /**
     * One sentence.
     *
     * @param tokens special tokens included; not to be changed
     * @param targets the index of the tag for the first token of each word, else {@link #NO_TARGET}
     * @param wordOf number of the word that each token is of; -1 for special tokens
     * @param tags the index of each word's tag, those without tokens too
     * @param line of the file, or place in the stream, from 1
     */
    @SuppressWarnings("ArrayRecordComponent") // a list of boxes would take five times the memory
    public record Example(int[] tokens, int[] targets, int[] wordOf, int[] tags, long line) {
        static Example of(WordTokens words, int[] tags, long line) {
            return new Example(words.tokens(), WordDataset.targets(words.wordOf(), tags), words.wordOf(), tags, line);
        }

        /** Number of tokens. */
        public int length() {
            return tokens.length;
        }
    }

    public WordDataset {
        examples = List.copyOf(examples);
    }

    /** What stands for each word at its first token, and {@link #NO_TARGET} elsewhere. */
    public static int[] targets(int[] wordOf, int[] tags) {
        int[] targets = new int[wordOf.length];
        Arrays.fill(targets, NO_TARGET);
        for (int i = 0; i < wordOf.length; i++) {
            if (wordOf[i] >= 0 && (i == 0 || wordOf[i - 1] != wordOf[i])) {
                targets[i] = tags[wordOf[i]];
            }
        }
        return targets;
    }

    public int size() {
        return examples.size();
    }

    /** Tokens of all examples. */
    public long tokens() {
        return examples.stream().mapToLong(Example::length).sum();
    }

    /** {@code "train.conll, line 12"} or {@code "row 12 of the stream"}, for messages. */
    public String where(int example) {
        return RowPlaces.where(file, examples.get(example).line());
    }

    /** Refuses tokens that a model does not have; as {@link Dataset#checkVocabulary(int)}. */
    public void checkVocabulary(int vocabulary) {
        for (int i = 0; i < size(); i++) {
            Dataset.checkVocabulary(examples.get(i).tokens(), vocabulary, this::where, i);
        }
    }
}
