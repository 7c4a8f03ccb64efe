package org.peft4j.method.miss;

/** What MiSS trains of a layer; Hugging Face PEFT calls it {@code init_weights}. */
public enum MissVariant {
    /** B [r, out]: inputs whose numbers differ by a multiple of r are added up and read B. PEFT's {@code true}. */
    PLAIN,
    /** B [out / r, r, r]: each block of W reads its rows' own square matrix, {@code ΔW = W B + B}. PEFT's {@code "bat"}. */
    BAT,
    /** B [r, mini_r], the same columns again and again for all outputs. PEFT's {@code "mini"}. */
    MINI
}
