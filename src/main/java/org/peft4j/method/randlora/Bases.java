package org.peft4j.method.randlora;

import org.peft4j.method.Projection;

/**
 * RandLoRA's random matrices. PEFT draws dense ones in bfloat16, on cards without it in float16; files that lack them are read as
 * with bfloat16.
 *
 * @param sparsity how many of their elements are not 0
 * @param projection how they are drawn, and whether they are saved
 */
public record Bases(Sparsity sparsity, Projection projection) {
    /** PEFT's defaults: dense, seed 0, saved. */
    public static Bases defaults() {
        return new Bases(Sparsity.DENSE, Projection.defaults());
    }
}
