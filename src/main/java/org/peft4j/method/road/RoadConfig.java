package org.peft4j.method.road;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of RoAd: pairs of a layer's outputs are turned by trained angles θ and multiplied with trained factors α. A new
 * adapter's angles are 0 and its factors 1. Inside a group of outputs the first half is paired with the second.
 *
 * @param variant how many angles and factors
 * @param groupSize outputs in a group; even, and it has to divide a layer's outputs
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2409.00119">3-in-1: 2D Rotary Adaptation for Efficient Finetuning, Efficient Batching and
 *     Composability</a>
 */
public record RoadConfig(RoadVariant variant, int groupSize, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public RoadConfig {
        if (groupSize < 2 || groupSize % 2 != 0) {
            throw new IllegalArgumentException("groupSize must be even and at least 2, got " + groupSize);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: one angle for a pair, groups of 64 outputs, the model's usual targets. */
    public static RoadConfig defaults() {
        return new RoadConfig(RoadVariant.ROAD_1, 64, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another number of angles. */
    public RoadConfig withVariant(RoadVariant value) {
        return new RoadConfig(value, groupSize, layers, modulesToSave);
    }

    /** The same settings with other groups. */
    public RoadConfig withGroupSize(int value) {
        return new RoadConfig(variant, value, layers, modulesToSave);
    }

    @Override
    public RoadConfig withLayers(TargetLayers value) {
        return new RoadConfig(variant, groupSize, value, modulesToSave);
    }

    @Override
    public RoadConfig withModulesToSave(List<String> modules) {
        return new RoadConfig(variant, groupSize, layers, modules);
    }
}
