package org.peft4j.method;

/** The function that rational activations are near to at the start, between -3 and 3. */
public enum InitRational {
    /** x Φ(x). Of version B it is wrong beyond -3 and 3. */
    GELU,
    /** max(0, x). */
    RELU,
    /** x times its sigmoid: the smoothest beyond -3 and 3. */
    SWISH,
    /** The hyperbolic tangent. */
    TANH,
    /** x itself, exactly; of any degrees. */
    IDENTITY,
    /** 1, whatever x is, exactly; of any degrees. What stands in front of it gets no gradient in the first step. */
    ONE;

    /** Whether it needs degrees of at least 5 and 4, for which its coefficients are known. */
    public boolean isFitted() {
        return this != IDENTITY && this != ONE;
    }
}
