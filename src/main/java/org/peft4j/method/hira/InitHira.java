package org.peft4j.method.hira;

/** How A begins; B begins with zeros, so that a new adapter changes nothing. */
public enum InitHira {
    /** Kaiming uniform with a = sqrt(5), as a linear layer: PEFT's {@code init_weights: true}. */
    KAIMING,
    /** Normal with standard deviation 1 / r: PEFT's {@code "gaussian"}. */
    GAUSSIAN
}
