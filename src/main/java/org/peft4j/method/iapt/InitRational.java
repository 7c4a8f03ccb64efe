package org.peft4j.method.iapt;

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
    IDENTITY
}
