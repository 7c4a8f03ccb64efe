package org.peft4j.config;

/** In which form the frozen weights lie in memory; adapters are always float32. */
public enum Dtype {
    FLOAT32,
    /** Half the memory of the weights; faster too on cards, and on processors that compute in it. */
    BFLOAT16,
    /** The same memory, on cards alone: no processor computes in it. Training scales the loss, so that small gradients are not lost. */
    FLOAT16
}
