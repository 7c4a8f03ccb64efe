package org.peft4j.method.c3a;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.peft4j.method.ModulePattern;

/**
 * The sizes of circulant blocks, which divide a layer's inputs and outputs.
 *
 * @param blockSize side of a block
 * @param blockSizePattern other sizes: name, suffix or regular expression of the end of a path → size; the first match counts
 */
public record BlockSizes(int blockSize, Map<String, Integer> blockSizePattern) {
    public BlockSizes {
        check("blockSize", blockSize);
        blockSizePattern = Collections.unmodifiableMap(new LinkedHashMap<>(blockSizePattern)); // the first match counts
        blockSizePattern.forEach((key, size) -> {
            ModulePattern.of(key);
            check("blockSizePattern of '" + key + "'", size);
        });
    }

    private static void check(String what, int size) {
        if (size < 1) {
            throw new IllegalArgumentException(what + " must be at least 1, got " + size);
        }
    }

    /** The same size everywhere. */
    public static BlockSizes of(int blockSize) {
        return new BlockSizes(blockSize, Map.of());
    }
}
