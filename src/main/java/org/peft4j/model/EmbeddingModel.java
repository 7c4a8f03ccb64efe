package org.peft4j.model;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Points;

/** A model that gives hidden states and sentence embeddings. Immutable, safe from many threads until closed. */
public interface EmbeddingModel extends AutoCloseable {
    Points points();

    int maxPositions();

    /** What a user should know about the model's files. */
    default List<String> notes() {
        return List.of();
    }

    /** Hidden states behind the last block, [T, hidden] in the type of the activations. */
    Tensor hidden(int[] tokens, ForwardContext context);

    /** Mean of the hidden states over each sequence's rows, [sequences, hidden], float32. */
    Tensor embed(int[] tokens, ForwardContext context);

    @Override
    void close();
}
