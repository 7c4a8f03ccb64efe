package org.peft4j.method.bottleneck;

import org.jspecify.annotations.Nullable;

/**
 * An invertible adapter beside the bottlenecks, for language adapters (MAD-X): rows go through it between the model's embeddings and its
 * first block, and a language head reads them through its inverse.
 *
 * @param invAdapter which one; null: none
 * @param invAdapterReductionFactor half of the width through the width inside of its two networks, at least 1; only with an
 *     invertible adapter another than 2
 * @see <a href="https://arxiv.org/abs/2005.00052">MAD-X: An Adapter-Based Framework for Multi-Task Cross-Lingual Transfer</a>
 */
public record InvertibleAdapter(@Nullable InvAdapter invAdapter, double invAdapterReductionFactor) {
    /** No invertible adapter. */
    public static final InvertibleAdapter NONE = new InvertibleAdapter(null, 2);

    /** NICE with a reduction factor of 2: that of {@code seq_bn_inv}. */
    public static final InvertibleAdapter NICE = new InvertibleAdapter(InvAdapter.NICE, 2);

    private static final double MOST = 1 << 24;

    /** Kinds of invertible adapters. */
    public enum InvAdapter {
        /** Two coupled halves: {@code y1 = x1 + F(x2), y2 = x2 + G(y1)} (Dinh et al. 2015). */
        NICE;

        /**
         * As files have it.
         *
         * @throws IllegalArgumentException if it is not offered
         */
        public static InvAdapter parse(@Nullable String text) {
            if ("nice".equals(text)) {
                return NICE;
            }
            throw new IllegalArgumentException(
                    "glow".equals(text)
                            ? "inv_adapter glow is not offered: in AdapterHub's library its forward leaves out a network that its"
                                    + " reverse uses, so that they are no inverses; take nice"
                            : "inv_adapter must be nice, got '" + text + "'");
        }

        /** As files have it. */
        public String fileName() {
            return "nice";
        }
    }

    public InvertibleAdapter {
        if (!(invAdapterReductionFactor >= 1 && invAdapterReductionFactor <= MOST)) { // also refuses NaN
            throw new IllegalArgumentException("invAdapterReductionFactor must be at least 1 and at most " + (1 << 24)
                    + ", got " + invAdapterReductionFactor);
        }
        if (invAdapter == null && invAdapterReductionFactor != 2) {
            throw new IllegalArgumentException("invAdapterReductionFactor has no meaning without invAdapter, got "
                    + invAdapterReductionFactor + "; give invAdapter: nice, or leave it out");
        }
    }

    /** Whether there is none. */
    public boolean isNone() {
        return invAdapter == null;
    }
}
