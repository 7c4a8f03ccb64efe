package org.peft4j.method.iapt;

/** How a layer sees its soft tokens; results are the same. */
public enum PromptInsertion {
    /** Their keys and values stand before those of the sequence: no row more goes through the layer. */
    CACHE,
    /**
     * They go through the layer in front of the sequence, and what comes out of them is thrown away. In generation, where they are in
     * the cache, it is as {@link #CACHE}.
     */
    REPLACE
}
