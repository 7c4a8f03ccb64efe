package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * A frozen tensor of the backbone or head, as a whole: weight, bias, embedding table. Claimed by a {@link Parameter} that
 * takes its place, at most one for each sequence.
 *
 * @param path name of the tensor, such as {@code classifier.weight}
 * @param value the frozen values
 */
public record TensorPoint(String path, Tensor value) implements Point<Parameter> {}
