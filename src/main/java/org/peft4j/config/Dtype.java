package org.peft4j.config;

/** In which form the frozen weights lie in memory; adapters are always float32. */
public enum Dtype {
    FLOAT32,
    /** Half the memory of the weights; faster too on processors that compute in it. */
    BFLOAT16
}
