package org.peft4j.method.bottleneck;

import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Width of a row through that of the bottleneck, in all layers or by their numbers. The bottleneck is rounded down.
 *
 * @param usual of layers that byLayer does not name; null: byLayer has to name all
 * @param byLayer by the number of the layer, from 0
 */
public record ReductionFactor(@Nullable Double usual, Map<Integer, Double> byLayer) {
    private static final double LEAST = 1 / 64.0;
    private static final double MOST = 1 << 24;

    public ReductionFactor {
        byLayer = java.util.Collections.unmodifiableMap(new TreeMap<>(byLayer)); // same file for the same settings
        if (usual == null && byLayer.isEmpty()) {
            throw new IllegalArgumentException("reductionFactor must be a number, or one for each layer, got none");
        }
        if (usual != null) {
            check(usual);
        }
        byLayer.forEach((layer, factor) -> {
            if (layer < 0) {
                throw new IllegalArgumentException("reductionFactor must name layers from 0, got " + layer);
            }
            check(factor);
        });
    }

    private static void check(double factor) {
        if (!(factor >= LEAST && factor <= MOST)) { // also refuses NaN
            throw new IllegalArgumentException(
                    "reductionFactor must be at least 1/64 and at most " + (int) MOST + ", got " + factor);
        }
    }

    /** The same in all layers. */
    public static ReductionFactor of(double factor) {
        return new ReductionFactor(factor, Map.of());
    }

    /** Of a layer; null if nothing says it. */
    public @Nullable Double ofLayer(int layer) {
        return byLayer.getOrDefault(layer, usual);
    }

    /** A number, or a map with numbers of layers and {@code default} as keys: as files have it. */
    public Object toTree() {
        if (usual != null && byLayer.isEmpty()) {
            return plain(usual);
        }
        Map<String, Object> tree = new java.util.LinkedHashMap<>();
        if (usual != null) {
            tree.put("default", plain(usual));
        }
        byLayer.forEach((layer, factor) -> tree.put(String.valueOf(layer), plain(factor)));
        return tree;
    }

    private static Object plain(double factor) {
        return factor == Math.rint(factor) ? (Object) (int) factor : (Object) factor;
    }

    /**
     * Of numbers by layer.
     *
     * @param tree keys are numbers of layers and {@code default}
     */
    public static ReductionFactor ofTree(Map<String, Double> tree) {
        Map<Integer, Double> byLayer = new TreeMap<>();
        tree.forEach((key, factor) -> {
            if (key.matches("\\d{1,6}")) {
                byLayer.put(Integer.valueOf(key), factor);
            } else if (!key.equals("default")) {
                throw new IllegalArgumentException(
                        "reductionFactor must have numbers of layers and 'default' as keys, got '" + key + "'");
            }
        });
        return new ReductionFactor(tree.get("default"), byLayer);
    }

    @Override
    public String toString() {
        return toTree().toString();
    }
}
