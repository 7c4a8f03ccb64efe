package org.peft4j.method.gralora;

/**
 * Ranks of GraLoRA.
 *
 * @param r rank of the blocks of a row of blocks together, to which each of them adds r / k; k has to divide it
 * @param hybridR rank of an update of the whole matrix beside them, 0 for none
 * @param graloraK k: the matrix has k times k blocks; it has to divide a layer's inputs and outputs
 */
public record GraloraRanks(int r, int hybridR, int graloraK) {
    public GraloraRanks {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        if (hybridR < 0) {
            throw new IllegalArgumentException("hybridR must not be negative, got " + hybridR);
        }
        if (graloraK < 1) {
            throw new IllegalArgumentException("graloraK must be at least 1, got " + graloraK);
        }
        if (r % graloraK != 0) {
            throw new IllegalArgumentException("r must be a multiple of gralora_k " + graloraK + ", got " + r);
        }
    }

    /** PEFT's defaults: r 32 of two times two blocks. */
    public static GraloraRanks defaults() {
        return new GraloraRanks(32, 0, 2);
    }
}
