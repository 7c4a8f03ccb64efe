package org.peft4j.method.lora;

/**
 * How several LoRA adapters become one, as Hugging Face PEFT's {@code add_weighted_adapter} does it. Each exists in the form of
 * A and B, which are combined one by one and is cheap and rough, and in the form {@code _SVD}: the updates {@code s B A} are
 * combined, and the largest singular values of the result are kept.
 */
public enum Combination {
    /** Weighted sums of A and of B, which is the sum of the updates only if the adapters are alike. */
    LINEAR,
    /** A and B one behind the other: exactly the weighted sum of the updates; ranks add up. */
    CAT,
    /** The weighted sum of the updates. */
    SVD,
    /** Of each adapter the largest values; of those the ones of the majority's sign (<a href="https://arxiv.org/abs/2306.01708">TIES</a>). */
    TIES,
    TIES_SVD,
    /** Of each adapter random values, the others enlarged in return (<a href="https://arxiv.org/abs/2311.03099">DARE</a>). */
    DARE_LINEAR,
    DARE_LINEAR_SVD,
    /** Of each adapter random values, and of those the ones of the majority's sign. */
    DARE_TIES,
    DARE_TIES_SVD,
    /** Of each adapter the largest values. */
    MAGNITUDE_PRUNE,
    MAGNITUDE_PRUNE_SVD;

    /** Whether whole updates are combined, so that a rank has to be chosen. */
    public boolean ofUpdates() {
        return this == SVD || name().endsWith("_SVD");
    }

    /** Whether a part of the values is left out. */
    public boolean prunes() {
        return this != LINEAR && this != CAT && this != SVD;
    }
}
