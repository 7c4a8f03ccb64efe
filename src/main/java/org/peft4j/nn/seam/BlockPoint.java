package org.peft4j.nn.seam;

/**
 * What a block as a whole gives, and the next one reads. Claimed by {@link BlockUpdate}s, one behind the other.
 *
 * @param path module of the block, such as {@code bert.encoder.layer.0}
 * @param layer number of the block, from 0
 * @param width of its rows
 */
public record BlockPoint(String path, int layer, long width) implements Point<BlockUpdate> {}
