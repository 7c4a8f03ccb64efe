package org.peft4j.nn.seam;

import org.bytedeco.pytorch.Tensor;

/**
 * Claim of a {@link LinearPoint}: {@code y += scale (dropout(x) Aᵀ) Bᵀ}. The tensors are asked for in each forward, so
 * a method may make them from others; autograd follows.
 */
public non-sealed interface LowRank extends LinearClaim {
    /** A [r, in], float32. */
    Tensor a();

    /** B [out, r], float32. */
    Tensor b();

    double scale();

    /** Probability of dropping an element of x on its way into A while training. */
    double dropout();

    /** The usual case: A and B are the parameters. */
    static LowRank of(Parameter a, Parameter b, double scale, double dropout) {
        return new LowRank() {
            @Override
            public Tensor a() {
                return a.value();
            }

            @Override
            public Tensor b() {
                return b.value();
            }

            @Override
            public double scale() {
                return scale;
            }

            @Override
            public double dropout() {
                return dropout;
            }
        };
    }
}
