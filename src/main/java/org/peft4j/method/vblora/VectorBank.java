package org.peft4j.method.vblora;

/**
 * The vectors that all of VB-LoRA's matrices are put together from.
 *
 * @param numVectors how many there are
 * @param vectorLength elements of each; inputs and outputs of every adapted layer have to be divisible by it
 * @param topk how many of them a piece of a matrix is the mean of, weighted
 * @param initVectorBankBound their elements begin uniform from minus this to this
 * @param initLogitsStd standard deviation of the first logits, which choose and weight them
 */
public record VectorBank(int numVectors, int vectorLength, int topk, double initVectorBankBound, double initLogitsStd) {
    public VectorBank {
        if (numVectors < 1) {
            throw new IllegalArgumentException("numVectors must be at least 1, got " + numVectors);
        }
        if (vectorLength < 1) {
            throw new IllegalArgumentException("vectorLength must be at least 1, got " + vectorLength);
        }
        if (topk < 1 || topk > numVectors) {
            throw new IllegalArgumentException(
                    "topk must be from 1 to the " + numVectors + " vectors of the bank, got " + topk);
        }
        if (!(initVectorBankBound > 0 && initVectorBankBound <= Float.MAX_VALUE)) {
            throw new IllegalArgumentException("initVectorBankBound must be a positive number that float32 holds, got "
                    + initVectorBankBound + "; from zeros nothing would ever be learned");
        }
        if (!(initLogitsStd >= 0 && initLogitsStd <= Float.MAX_VALUE)) {
            throw new IllegalArgumentException(
                    "initLogitsStd must be a number from 0 that float32 holds, got " + initLogitsStd);
        }
    }

    /** PEFT's defaults: 256 vectors of 256 elements, the best two. */
    public static VectorBank defaults() {
        return of(256, 256, 2);
    }

    /** A bank of this size, with PEFT's first values. */
    public static VectorBank of(int numVectors, int vectorLength, int topk) {
        return new VectorBank(numVectors, vectorLength, topk, 0.02, 0.1);
    }
}
