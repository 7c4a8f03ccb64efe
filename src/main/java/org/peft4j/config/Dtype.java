package org.peft4j.config;

/** In which form the frozen weights lie in memory, and what is computed with them; adapters are always float32. */
public enum Dtype {
    FLOAT32,
    /** Half the memory of the weights; faster too on cards, and on processors that compute in it. */
    BFLOAT16,
    /** The same memory, on cards alone: no processor computes in it. Training scales the loss, so that small gradients are not lost. */
    FLOAT16,
    /** float32 in memory, on cards alone: products round what they multiply to 10 bits behind the point, and add in float32. */
    TF32;

    /** Bytes of a weight. */
    public int weightBytes() {
        return this == FLOAT32 || this == TF32 ? Float.BYTES : Short.BYTES;
    }
}
