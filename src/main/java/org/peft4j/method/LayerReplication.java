package org.peft4j.method;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * A model's layers in another order, some of them more than once, as Hugging Face PEFT's {@code layer_replication}: the layers
 * [first, last) of each range, one range behind the other. The copies share their frozen weights, have numbers of their own, from 0
 * on, and are adapted each by itself.
 *
 * @param ranges of the model's own layers, each {@code [first, last)}; none: the layers as they are
 */
public record LayerReplication(List<List<Integer>> ranges) {
    /** The layers as they are. */
    public static final LayerReplication NONE = new LayerReplication(List.of());

    private static final int MOST_LAYERS = 1_000;

    public LayerReplication {
        ranges = ranges.stream().map(List::copyOf).toList();
        long all = 0;
        for (List<Integer> range : ranges) {
            if (range.size() != 2 || range.get(0) < 0 || range.get(0) >= range.get(1)) {
                throw new IllegalArgumentException(
                        "layerReplication must have ranges such as [[0, 4], [2, 5]], each the number of"
                                + " a first layer and, above it, the one behind its last; got " + ranges);
            }
            all += range.get(1) - range.get(0);
        }
        if (all > MOST_LAYERS) {
            throw new IllegalArgumentException(
                    "layerReplication must give at most " + MOST_LAYERS + " layers, got " + all + " by " + ranges);
        }
    }

    /** One range behind the other: {@code of(0, 4, 2, 5)} is {@code [[0, 4], [2, 5]]}. */
    public static LayerReplication of(int... bounds) {
        if (bounds.length % 2 != 0) {
            throw new IllegalArgumentException(
                    "layerReplication must have two numbers for each range, got " + Arrays.toString(bounds));
        }
        List<List<Integer>> ranges = new ArrayList<>();
        for (int i = 0; i < bounds.length; i += 2) {
            ranges.add(List.of(bounds[i], bounds[i + 1]));
        }
        return new LayerReplication(ranges);
    }

    /** Whether the layers are as they are. */
    public boolean isNone() {
        return ranges.isEmpty();
    }

    /** For each new layer the number of the one whose weights it has; empty where the layers are as they are. */
    public List<Integer> layers() {
        List<Integer> layers = new ArrayList<>();
        for (List<Integer> range : ranges) {
            for (int layer = range.get(0); layer < range.get(1); layer++) {
                layers.add(layer);
            }
        }
        return Collections.unmodifiableList(layers);
    }

    @Override
    public String toString() {
        return ranges.toString();
    }
}
