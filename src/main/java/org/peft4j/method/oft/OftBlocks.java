package org.peft4j.method.oft;

/**
 * The blocks of features that are turned, as Hugging Face PEFT has them. Exactly one of {@code r} and {@code oftBlockSize} is not
 * 0; where a layer's inputs cannot be divided so, the nearest number that divides them counts, the lower of two.
 *
 * @param r number of blocks
 * @param oftBlockSize features in a block
 * @param blockShare whether all blocks of a layer are turned alike
 */
public record OftBlocks(int r, int oftBlockSize, boolean blockShare) {
    public OftBlocks {
        if (r < 0) {
            throw new IllegalArgumentException("r must not be negative, got " + r);
        }
        if (oftBlockSize < 0) {
            throw new IllegalArgumentException("oftBlockSize must not be negative, got " + oftBlockSize);
        }
        if ((r == 0) == (oftBlockSize == 0)) {
            throw new IllegalArgumentException(
                    "r must be 0 where oft_block_size is not, and the other way round; got r " + r
                            + " and oft_block_size " + oftBlockSize);
        }
    }

    /** PEFT's defaults: 32 features, each block of its own. */
    public static OftBlocks defaults() {
        return new OftBlocks(0, 32, false);
    }

    /** Blocks of this size. */
    public static OftBlocks ofSize(int oftBlockSize) {
        return new OftBlocks(0, oftBlockSize, false);
    }

    /** The size of a layer's blocks. */
    public long size(long inputs) {
        return oftBlockSize > 0 ? divisor(inputs, oftBlockSize) : inputs / divisor(inputs, r);
    }

    private static long divisor(long inputs, long wanted) {
        if (wanted >= inputs) {
            return inputs;
        }
        long lower = wanted;
        while (inputs % lower != 0) {
            lower--;
        }
        long higher = wanted;
        while (inputs % higher != 0) {
            higher++;
        }
        return wanted - lower <= higher - wanted ? lower : higher;
    }
}
