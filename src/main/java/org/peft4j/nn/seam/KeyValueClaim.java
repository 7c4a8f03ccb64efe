package org.peft4j.nn.seam;

/** What may be claimed at a {@link KeyValuePoint}: at most one for each sequence. */
public sealed interface KeyValueClaim permits PrefixKeyValues, SequenceKeyValues, HiddenPrefix, GatedPrompt {
    /** How many keys stand in front of each sequence's own, in one softmax with them; the same at every block of an adapter. */
    int count();

    /** Whether they are the same for every sequence. */
    boolean shared();

    /** Whether a cache keeps them from the first call on, among its rows; else each call makes them anew. */
    default boolean cached() {
        return true;
    }
}
