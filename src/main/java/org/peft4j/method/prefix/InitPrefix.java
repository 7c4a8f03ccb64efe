package org.peft4j.method.prefix;

/** How the prefix begins. */
public enum InitPrefix {
    /** Normal with standard deviation 1, as an embedding; a projection's layers as linear layers. */
    RANDOM,
    /** Zero keys and values (of a projection the last layer is): not quite without effect, because they take part of the softmax. */
    ZERO
}
