package org.peft4j.nn.seam;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/** Claim of a {@link SequencePoint}: rows before each text, in place of embedded words; they take positions as words do. */
public non-sealed interface InsertedRows extends SequenceClaim {
    /** Number of rows. */
    int count();

    /**
     * The rows, [count, C], float32.
     *
     * @param context of the call that reads them: a network that makes rows may drop out while it is trained
     */
    Tensor rows(ForwardContext context);

    /**
     * The rows of a text, [count, C], float32: those of its task, where tasks have their own.
     *
     * @param task of the text, {@link RowTasks#NONE} if it says none
     */
    default Tensor rows(ForwardContext context, int task) {
        return rows(context);
    }

    /** The rows that count in the loss of a language model; most count in none. */
    default List<ToldRow> told() {
        return List.of();
    }
}
