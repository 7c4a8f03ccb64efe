package org.peft4j.nn.seam;

/**
 * The keys and values of one block's attention, before those of the sequence. Claimed by {@link PrefixKeyValues}, to which no rotary
 * rotation is applied, by {@link SequenceKeyValues}, by {@link HiddenPrefix} or by {@link GatedPrompt}; at most one for each sequence.
 *
 * @param path the attention module, such as {@code bert.encoder.layer.0.attention.self}
 * @param layer number of the block, from 0
 * @param heads key/value heads
 * @param headSize elements of a head
 * @param window rows of its sequence that a row sees; 0: all
 */
public record KeyValuePoint(String path, int layer, long heads, long headSize, long window)
        implements Point<KeyValueClaim> {
    /** Without a window. */
    public KeyValuePoint(String path, int layer, long heads, long headSize) {
        this(path, layer, heads, headSize, 0);
    }
}
