package org.peft4j.nn.seam;

/**
 * What a sublayer of a block (attention or MLP) gives, before it is added to what went around it. Claimed by
 * {@link SublayerUpdate}s, one behind the other.
 *
 * @param path module that the sublayer ends in, such as {@code bert.encoder.layer.0.output}
 * @param layer number of the block, from 0
 * @param kind which of the block's sublayers
 * @param width of its rows
 */
public record SublayerPoint(String path, int layer, Kind kind, long width) implements Point<SublayerUpdate> {
    /** The sublayers of a block. */
    public enum Kind {
        ATTENTION,
        MLP
    }
}
