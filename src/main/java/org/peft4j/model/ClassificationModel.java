package org.peft4j.model;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Points;

/** A model that gives each sequence one score for each label. Immutable, safe from many threads until closed. */
public interface ClassificationModel extends AutoCloseable {
    /** Where methods may act. */
    Points points();

    /** Most tokens of a sequence, special tokens counted, before what an adapter takes. */
    int maxPositions();

    /** Token numbers are below this. */
    int vocabulary();

    /** What a user should know about the model's files. */
    default List<String> notes() {
        return List.of();
    }

    /**
     * @param tokens of all sequences, one after the other, as the context's packing says; each sequence has at least one
     * @return [sequences, labels], float32
     */
    Tensor logits(int[] tokens, ForwardContext context);

    /**
     * The same model with other frozen tensors in place of its own, by path: a merged adapter. This one stays as it is and
     * both must be closed.
     */
    ClassificationModel withTensors(Map<String, Tensor> changed);

    @Override
    void close();
}
