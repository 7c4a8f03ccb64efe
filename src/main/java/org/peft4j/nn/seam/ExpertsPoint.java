package org.peft4j.nn.seam;

import java.util.List;

/**
 * One matrix of each expert of a mixture, {@code y = W_e x}, which transformers has as one tensor [E, out, in]. {@link ExpertsUpdate}s
 * add up.
 *
 * @param path of that tensor, such as {@code model.layers.0.mlp.experts.gate_up_proj}
 * @param in columns of each matrix
 * @param out rows of each
 * @param tensors the frozen tensors that the experts' matrices are: for each expert those that lie one above the other; empty: the
 *     model's files have them as the one tensor, too
 * @param experts how many there are, E
 */
public record ExpertsPoint(String path, long experts, long in, long out, List<List<String>> tensors)
        implements Point<ExpertsUpdate> {
    public ExpertsPoint {
        tensors = tensors.stream().map(List::copyOf).toList();
    }
}
