package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link SequencePoint}: an invertible function of the rows that the first block reads. A language head applies its inverse
 * to the rows of the last block's norm, so that its matrix, which often is the table of words, sees the space of the words; other
 * heads do not. At most one acts on a sequence; of a stack it is the first adapter's ({@link Adapter#stack}).
 *
 * <p>Every row of a text goes through it, also those that come behind earlier calls. Rows that adapters insert before a text do not:
 * they are learned in the blocks' space as they are.
 *
 * @see <a href="https://arxiv.org/abs/2005.00052">MAD-X: An Adapter-Based Framework for Multi-Task Cross-Lingual Transfer</a>
 */
public non-sealed interface EmbeddedUpdate extends SequenceClaim {
    /**
     * What the first block reads.
     *
     * @param rows [T, C], behind everything that the model's embedding layer does: scale, positions, norm, dropout
     * @return [T, C], of their type
     */
    Tensor forward(Tensor rows, ForwardContext context);

    /**
     * What a language head reads.
     *
     * @param rows [R, C], behind the last norm
     * @return [R, C], of their type
     */
    Tensor inverse(Tensor rows, ForwardContext context);
}
