package org.peft4j.task;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Row;
import org.peft4j.error.ConfigException;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.RowTasks;
import org.peft4j.nn.seam.TextLengths;

/**
 * Tokenised rows, in their order.
 *
 * @param file where they come from
 * @param labelCounts how often each label occurs, in the order of the outputs; empty for tasks without labels
 * @param texts how rows became texts; null where that is not asked
 */
public record Dataset<E extends Example>(
        Path file,
        List<E> examples,
        Map<String, Long> labelCounts,
        @Nullable Texts texts) {
    /**
     * How rows of a language model became texts.
     *
     * @param forms how many rows had which form, by its name
     * @param template what made texts of conversations: where it stands; null where nothing had to
     * @param full of packs how full they are, tokens over room; NaN where rows are not packed
     */
    public record Texts(Map<String, Long> forms, @Nullable String template, double full) {
        public Texts {
            forms = java.util.Collections.unmodifiableMap(new java.util.LinkedHashMap<>(forms));
        }
    }

    public Dataset(Path file, List<E> examples, Map<String, Long> labelCounts) {
        this(file, examples, labelCounts, null);
    }

    public Dataset {
        examples = List.copyOf(examples);
        labelCounts = java.util.Collections.unmodifiableMap(new java.util.LinkedHashMap<>(labelCounts));
    }

    public int size() {
        return examples.size();
    }

    /** How many rows were longer than the limit of tokens. */
    public long cut() {
        return examples.stream().filter(Example::cut).count();
    }

    /** {@code "train.jsonl, line 12"} or {@code "row 12 of the stream"}, for messages. */
    public String where(int example) {
        return new Row(Map.of(), file, examples.get(example).line()).where();
    }

    /** These examples as a batch. */
    public Batch<E> batch(int[] numbers) {
        List<E> chosen =
                java.util.Arrays.stream(numbers).mapToObj(examples::get).toList();
        return Batch.of(chosen, i -> where(numbers[i]));
    }

    /**
     * Refuses tokens that a model does not have.
     *
     * @param vocabulary token numbers are below it
     * @throws ConfigException naming the first such row
     */
    public void checkVocabulary(int vocabulary) {
        for (int i = 0; i < size(); i++) {
            checkVocabulary(examples.get(i), vocabulary, this::where, i);
        }
    }

    /**
     * Refuses rows of tasks that an adapter does not have, and rows that say none where they have to.
     *
     * @throws ConfigException naming the first such row
     */
    public void checkTasks(Adapter adapter) {
        Map<Long, Integer> byLine = new TreeMap<>(); // packs are not in the order of their rows
        for (E example : examples) {
            for (int s = 0; s < example.sequences().size(); s++) {
                byLine.put(example.line(s), example.task(s));
            }
        }
        byLine.forEach((line, task) -> RowTasks.check(adapter, task, new Row(Map.of(), file, line).where()));
    }

    /** The tasks that rows are of. */
    public Set<Integer> tasks() {
        Set<Integer> tasks = new TreeSet<>();
        for (E example : examples) {
            IntStream.range(0, example.sequences().size()).map(example::task).forEach(tasks::add);
        }
        return tasks;
    }

    /** The same for one row, which {@code where} names for the message; without an adapter there are no tasks. */
    public static void checkTask(Example example, @Nullable Adapter adapter, IntFunction<String> where, int row) {
        for (int s = 0; adapter != null && s < example.sequences().size(); s++) {
            RowTasks.check(adapter, example.task(s), where.apply(row));
        }
    }

    /** Refuses rows that an adapter cannot have because of their length ({@link Adapter#textLength}). */
    public void checkLengths(Adapter adapter) {
        for (int i = 0; i < size(); i++) {
            checkLength(examples.get(i), adapter, this::where, i);
        }
    }

    /** The same for one row, which {@code where} names for the message. */
    public static void checkLength(Example example, @Nullable Adapter adapter, IntFunction<String> where, int row) {
        if (adapter != null && adapter.textLength() > 0) {
            for (var sequence : example.sequences()) {
                TextLengths.check(adapter, sequence.tokens().length, where.apply(row));
            }
        }
    }

    /** The same as {@link #checkVocabulary(int)} for one row, which {@code where} names for the message. */
    public static void checkVocabulary(Example example, int vocabulary, IntFunction<String> where, int row) {
        for (var sequence : example.sequences()) {
            checkVocabulary(sequence.tokens(), vocabulary, where, row);
        }
    }

    /** The same for the tokens of a row. */
    public static void checkVocabulary(int[] tokens, int vocabulary, IntFunction<String> where, int row) {
        for (int token : tokens) {
            if (token < 0 || token >= vocabulary) {
                throw new ConfigException(where.apply(row) + ": the text has the token " + token
                        + ", but the model's embedding has only " + vocabulary
                        + " rows; does the tokenizer belong to this model?");
            }
        }
    }
}
