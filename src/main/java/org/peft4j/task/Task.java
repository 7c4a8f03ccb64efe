package org.peft4j.task;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TaskId;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;

/**
 * A task with everything decided. Immutable, safe from many threads.
 *
 * @param <E> what a row becomes
 */
public interface Task<E extends Example> {
    /** The settings, decided: labels are there. They stand beside the adapter. */
    TaskConfig config();

    /** The same for rows of these tasks of an adapter. */
    Task<E> withTaskId(TaskId id);

    /** Hugging Face PEFT's name of it, such as {@code SEQ_CLS}. */
    String peftName();

    /** What stands behind the model. */
    HeadKind headKind();

    /** Whether its output layer is trained with the adapter, as one that was made anew has to be. */
    default boolean trainsHead() {
        return headKind() == HeadKind.SEQUENCE || headKind() == HeadKind.TOKENS;
    }

    /** How that is made. */
    HeadOptions headOptions();

    /**
     * Writes what a model directory that does this task by itself has beside the files of every model.
     *
     * @param model of the directory's weights
     */
    default void writeBeside(Path directory, ModelInfo model) throws IOException {}

    /** Writes what has to stand beside an adapter that was trained for this task, so that it can be used: files, no settings. */
    default void writeBesideAdapter(Path directory) throws IOException {}

    /** Names of the outputs, where they are classes. */
    default List<String> labels() {
        return List.of();
    }

    /** The columns of rows without answers. */
    List<String> columns();

    /** What rows without answers become; {@code tokenizer} cuts at the task's length. */
    List<E> examples(List<Row> rows, TextTokenizer tokenizer);

    /** Reads rows with answers. Does not close the reader. */
    Dataset<E> read(RowReader reader, TextTokenizer tokenizer) throws IOException;

    /** The columns of rows with answers. */
    List<String> answeredColumns();

    /** The rows that are read behind the last block. */
    default ReadRows reads(Head head, Batch<E> batch) {
        return head.reads(batch.inputs(), batch.packing());
    }

    /**
     * How many of the first tokens of each sequence are its instruction, which says what is wanted and has nothing of what is
     * learnt: all, where nothing of the text is.
     */
    default int[] instructions(Batch<E> batch) {
        return IntStream.range(0, batch.packing().sequences())
                .map(batch.packing()::length)
                .toArray();
    }

    /** Which rows of the texts are tokens that are learnt: all, where a text is learnt of as a whole. */
    default boolean[] learnt(Batch<E> batch) {
        boolean[] all = new boolean[Math.toIntExact(batch.packing().rows())];
        Arrays.fill(all, true);
        return all;
    }

    /**
     * How much an example counts in the mean: the loss of a step is the sum of losses over the sum of these.
     *
     * @param inserted rows that adapters insert before each of its sequences
     */
    double weight(E example, int inserted);

    /**
     * How many sequences of an example tell inserted rows that an adapter wants to be told: each adds their number to the weight.
     * None where the task tells no tokens.
     */
    default int telling(E example) {
        return 0;
    }

    /** Whether the loss of a batch is a sum over its rows, so that batches of 4 and 4 are one of 8. */
    default boolean sumsOverRows() {
        return true;
    }

    /**
     * The summed loss of a batch, one number.
     *
     * @param h the read rows behind the model, [R, C]
     */
    Tensor loss(Head head, Tensor h, Batch<E> batch, ForwardContext context);

    /** A fresh one; for one thread. */
    Evaluator<E> evaluator();

    /**
     * What is said of each example, as columns to be added to its row.
     *
     * @param h the read rows behind the model, [R, C]
     * @throws org.peft4j.error.TrainingException if a number is not finite
     */
    List<Map<String, @Nullable Object>> outputs(Head head, Tensor h, Batch<E> batch, ForwardContext context);
}
