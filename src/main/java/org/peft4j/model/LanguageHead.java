package org.peft4j.model;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Weight;

/**
 * The head that gives a number to each token of the vocabulary: how likely it comes next. {@link #forward} gives these
 * logits; who wants the probability of one token alone does without them ({@link #losses}).
 */
public interface LanguageHead extends Head {
    /** Path of its matrix, where adapters may act, such as {@code lm_head}. */
    String path();

    /** The frozen matrix [vocabulary, C]; it may be the embedding's table. */
    Weight weight();

    /**
     * The cross-entropy of one token for each row, {@code -log softmax(z)[label]}, without the logits z of all rows in memory.
     * Differentiable in h and in what adapters do at the head.
     *
     * @param h the read rows behind {@link Model#finish}, [R, C]
     * @param labels int64 [R] on the CPU: the token behind the row, or -100 for a row that does not count
     * @param rows how they lie
     * @return float32 [R], 0 where no token is asked for
     */
    Tensor losses(Tensor h, Tensor labels, Packing rows, ForwardContext context);
}
