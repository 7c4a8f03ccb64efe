package org.peft4j.method.prefix;

/** How the prefix begins. */
public enum InitPrefix {
    /** Normal with standard deviation 1, as an embedding. */
    RANDOM,
    /** Zero keys and values: not quite without effect, because they take part of the softmax. */
    ZERO
}
