package org.peft4j.nn.seam;

/**
 * What a sublayer of a block (attention or MLP) gives, before it is added to what went around it. Claimed by
 * {@link SublayerUpdate}s, one behind the other.
 *
 * @param path module that the sublayer ends in, such as {@code bert.encoder.layer.0.output}
 * @param layer number of the block, from 0
 * @param kind which of the block's sublayers
 * @param width of its rows
 * @param normBehind whether the block norms the sum of what the sublayer gives and what goes around it; else its norms stand before
 *     the sublayers, and the sum stays as it is
 */
public record SublayerPoint(String path, int layer, Kind kind, long width, boolean normBehind)
        implements Point<SublayerUpdate> {
    /** The sublayers of a block. */
    public enum Kind {
        ATTENTION,
        MLP
    }
}
