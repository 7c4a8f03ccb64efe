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
    OLORA,
    /**
     * A from the principal directions of what a layer reads, B zero, and ranks where they explain most
     * (<a href="https://arxiv.org/abs/2410.07170">EVA</a>); {@link EvaConfig}.
     */
    EVA,
    /**
     * Singular values of {@code W C}, where C is the covariance of what the layer reads, and their vectors are trained, the rest of W is
     * frozen, as with PiSSA (<a href="https://arxiv.org/abs/2406.05223">CorDA</a>); {@link CordaConfig}.
     */
    CORDA,
    /**
     * A and B from singular vectors of W's gradient, so that the first step goes where training W would; what they add at the
     * start is subtracted beside the base, as with PiSSA (<a href="https://arxiv.org/abs/2407.05000">LoRA-GA</a>);
     * {@link LoraGaConfig}.
     */
    LORA_GA;

    /** Whether what A and B begin with has to be taken out of what is frozen. */
    public boolean takesFromWeight() {
        return this == PISSA || this == OLORA || this == CORDA || this == LORA_GA;
    }

    /** Whether it is made of what the frozen model does with rows, so that only a training run can begin with it. */
    public boolean needsData() {
        return this == EVA || this == CORDA || this == LORA_GA;
    }
}
