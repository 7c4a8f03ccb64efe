package org.peft4j.method.boft;

/**
 * The blocks of features that are turned, as Hugging Face PEFT has them. Exactly one of {@code boftBlockSize} and
 * {@code boftBlockNum} is not 0, and it has to divide a layer's inputs.
 *
 * @param boftBlockSize features in a block
 * @param boftBlockNum number of blocks
 * @param nButterflyFactor number of rotations behind each other; each further one pairs halves of blocks that are twice as far
 *     apart, so that f of them mix blocks of 2^(f-1) times the size
 */
public record BoftBlocks(int boftBlockSize, int boftBlockNum, int nButterflyFactor) {
    public BoftBlocks {
        if (boftBlockSize < 0) {
            throw new IllegalArgumentException("boftBlockSize must not be negative, got " + boftBlockSize);
        }
        if (boftBlockNum < 0) {
            throw new IllegalArgumentException("boftBlockNum must not be negative, got " + boftBlockNum);
        }
        if ((boftBlockSize == 0) == (boftBlockNum == 0)) {
            throw new IllegalArgumentException(
                    "boftBlockNum must be 0 where boft_block_size is not, and the other way round; got " + boftBlockNum
                            + " and boft_block_size " + boftBlockSize);
        }
        if (nButterflyFactor < 1 || nButterflyFactor > 30) {
            throw new IllegalArgumentException("nButterflyFactor must be from 1 to 30, got " + nButterflyFactor);
        }
    }

    /** PEFT's defaults: blocks of 4 features, turned once. */
    public static BoftBlocks defaults() {
        return new BoftBlocks(4, 0, 1);
    }

    /**
     * The size of a layer's blocks.
     *
     * @param factors number of rotations
     * @throws IllegalArgumentException if the layer's inputs cannot be divided so
     */
    public long size(long inputs, long factors) {
        String key = boftBlockSize > 0 ? "boftBlockSize" : "boftBlockNum";
        long given = Math.max(boftBlockSize, boftBlockNum);
        if (inputs % given != 0) {
            throw new IllegalArgumentException(key + " must divide a layer's " + inputs + " inputs, got " + given);
        }
        long size = boftBlockSize > 0 ? boftBlockSize : inputs / boftBlockNum;
        long blocks = inputs / size;
        if (factors > 1 && (size % 2 != 0 || blocks % (1L << (factors - 1)) != 0)) {
            throw new IllegalArgumentException("nButterflyFactor " + factors
                    + " needs blocks of an even size and a number of"
                    + " them that " + (1L << (factors - 1)) + " divides; a layer of " + inputs + " inputs has " + blocks
                    + " of " + size);
        }
        return size;
    }
}
