package org.peft4j.nn.seam;

import java.util.List;
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

    /** A and B; whoever makes both of one thing makes it once. */
    default Tensor[] pair() {
        return new Tensor[] {a(), b()};
    }

    /** r, if it is known without making A and may be large; else 0. */
    default long knownRank() {
        return 0;
    }

    double scale();

    /** Probability of dropping an element of x on its way into A while training. */
    double dropout();

    /**
     * The tokens from whose last occurrence in a text on it acts (activated LoRA): on no row before it, and on none of a text
     * without them. Empty: on all rows.
     */
    default List<Integer> invocation() {
        return List.of();
    }

    /** The usual case: A and B are the parameters. */
    static LowRank of(Parameter a, Parameter b, double scale, double dropout) {
        return of(a, b, scale, dropout, List.of());
    }

    /** The same, acting from certain tokens on. */
    static LowRank of(Parameter a, Parameter b, double scale, double dropout, List<Integer> invocation) {
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

            @Override
            public List<Integer> invocation() {
                return invocation;
            }
        };
    }
}
