package org.peft4j.nn.seam;

/**
 * The keys and values of one block's attention, before those of the sequence; no rotary rotation is applied to what is
 * put there. Claimed by {@link PrefixKeyValues}, at most one for each sequence.
 *
 * @param path the attention module, such as {@code bert.encoder.layer.0.attention.self}
 * @param layer number of the block, from 0
 * @param heads key/value heads
 * @param headSize elements of a head
 */
public record KeyValuePoint(String path, int layer, long heads, long headSize) implements Point<PrefixKeyValues> {}
