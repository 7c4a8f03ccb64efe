package org.peft4j.task;

import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.peft4j.data.TextTokenizer;
import org.peft4j.model.Tokens;
import org.peft4j.nn.seam.Packing;

/**
 * Examples as a model takes them: all sequences of the first, then those of the second, …
 *
 * @param where names an example of the batch for messages
 */
public record Batch<E extends Example>(Tokens inputs, Packing packing, List<E> examples, IntFunction<String> where) {
    public static <E extends Example> Batch<E> of(List<E> examples, IntFunction<String> where) {
        List<TextTokenizer.Tokens> sequences = examples.stream()
                .flatMap(example -> example.sequences().stream())
                .toList();
        int[] lengths =
                sequences.stream().mapToInt(tokens -> tokens.tokens().length).toArray();
        return new Batch<>(
                Tokens.joined(
                        sequences.stream().map(TextTokenizer.Tokens::tokens).toList(),
                        sequences.stream().map(TextTokenizer.Tokens::types).toList()),
                Packing.of(lengths),
                List.copyOf(examples),
                where);
    }

    /** Number of tokens. */
    public int tokens() {
        return inputs.rows();
    }

    /** Which of an adapter's tasks each sequence is of; {@link org.peft4j.nn.seam.RowTasks#NONE}: nothing is said. */
    public int[] tasks() {
        return examples.stream()
                .flatMapToInt(example ->
                        IntStream.range(0, example.sequences().size()).map(example::task))
                .toArray();
    }

    /** A value for each sequence, from its example's. */
    public <V> List<V> bySequence(IntFunction<V> ofExample) {
        return IntStream.range(0, examples.size())
                .boxed()
                .flatMap(i -> Stream.generate(() -> ofExample.apply(i))
                        .limit(examples.get(i).sequences().size()))
                .toList();
    }
}
