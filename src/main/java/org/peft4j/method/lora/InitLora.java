package org.peft4j.method.lora;

/** How A and B begin. A new adapter changes nothing; where B is not zero, nothing but rounding. */
public enum InitLora {
    /** A Kaiming uniform with a = sqrt(5), as a linear layer; B zero: PEFT's {@code init_lora_weights: true}. */
    KAIMING,
    /** A normal with standard deviation 1 / r; B zero: PEFT's {@code "gaussian"}. */
    GAUSSIAN,
    /**
     * A from the odd and B from the even rows of a random orthogonal matrix, so that B A is 0 and r has to be even: PEFT's
     * {@code "orthogonal"}.
     */
    ORTHOGONAL,
    /**
     * The largest singular values of W and their vectors are trained, what is left of W is frozen
     * (<a href="https://arxiv.org/abs/2404.02948">PiSSA</a>). The base model stays as it is: what was taken out of it is
     * subtracted beside it, and the adapter's file is plain LoRA of rank 2 r.
     */
    PISSA,
    /** The same with the first r columns and rows of {@code W = Q R} (<a href="https://arxiv.org/abs/2406.01775">OLoRA</a>). */
    OLORA;

    /** Whether a part of W is trained, so that it has to be taken out of what is frozen. */
    public boolean takesFromWeight() {
        return this == PISSA || this == OLORA;
    }
}
