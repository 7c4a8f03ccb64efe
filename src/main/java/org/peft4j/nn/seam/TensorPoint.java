package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * A frozen tensor of the backbone or head, as a whole: weight, bias, embedding table. Claimed by a {@link Parameter} that
 * takes its place, at most one for each sequence.
 *
 * @param path name of the tensor, such as {@code classifier.weight}
 * @param value the frozen values; of a linear layer [out, in], whatever files have
 * @param transposed whether files have a linear layer's matrix as [in, out] (transformers' {@code Conv1D})
 * @param fixed whether no claim is read here: nothing can take its place
 */
public record TensorPoint(String path, Tensor value, boolean transposed, boolean fixed) implements Point<Parameter> {
    /** Of a tensor that is here as files have it. */
    public TensorPoint(String path, Tensor value) {
        this(path, value, false, false);
    }
}
