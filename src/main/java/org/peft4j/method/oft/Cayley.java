package org.peft4j.method.oft;

/**
 * How a rotation is made of a skew-symmetric matrix S.
 *
 * @param useCayleyNeumann whether by the first terms of a series, {@code I + 2S + 2S² + …}, which needs no inverse and is a rotation
 *     for small S only; else exactly, {@code (I - S) (I + S)⁻¹}, which turns the other way
 * @param numCayleyNeumannTerms terms of the series, at least 2; as in Hugging Face PEFT, 3 and 4 are the same
 */
public record Cayley(boolean useCayleyNeumann, int numCayleyNeumannTerms) {
    public Cayley {
        if (numCayleyNeumannTerms < 2) {
            throw new IllegalArgumentException(
                    "numCayleyNeumannTerms must be at least 2, as nothing turns with fewer, got "
                            + numCayleyNeumannTerms);
        }
    }

    /** PEFT's defaults: five terms. */
    public static Cayley defaults() {
        return new Cayley(true, 5);
    }

    /** No series. */
    public static Cayley exact() {
        return new Cayley(false, 5);
    }
}
