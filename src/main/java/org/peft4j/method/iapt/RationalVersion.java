package org.peft4j.method.iapt;

/** The denominators of rational activations; none is below 1. */
public enum RationalVersion {
    /** {@code 1 + Σ |b_j| |x|ʲ}. */
    A,
    /** {@code 1 + |Σ b_j xʲ|}. */
    B
}
