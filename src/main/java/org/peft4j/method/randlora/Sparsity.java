package org.peft4j.method.randlora;

/** How many elements of RandLoRA's random matrices are not 0. */
public enum Sparsity {
    /** All: Kaiming uniform. */
    DENSE,
    /** A third, -1 or 1: PEFT's {@code sparse}. */
    SPARSE,
    /** One in √D, -1 or 1, of the smaller side D: PEFT's {@code very_sparse}. */
    VERY_SPARSE
}
